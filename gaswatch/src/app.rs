//! All roles wired together in one process: [`App::start`] builds them, [`App::run`] runs them until
//! told to stop and then drains them in the order data flows.

use std::fs::{DirBuilder, File};
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alerts::Alerts;
use alerts::notify::{EmailSettings, KannelSettings, Providers};
use anyhow::Context as _;
use broker::FrontDoor;
use ingest::Pipeline;
use registry::secrets::Secrets;
use registry::sensors::Presence;
use registry::{Credentials, Registry};
use store::{Clock, Journal, Ledger, Readings};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::announce;
use crate::config::{Config, ConfigError};
use crate::metrics::Metrics;
use crate::supervisor::Supervisor;

/// How often credentials and places are compared with the ledger, which a command may have changed.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How long each stage of a stop may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ledger with what hangs on it: enough for commands that run beside a serving process.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    pub(crate) registry: Registry,
    pub(crate) credentials: Credentials,
    pub(crate) secrets: Secrets,
}

impl Book {
    /// Opens the ledger and brings its tables up to date.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Book> {
        make_private(&config.data)?;
        let ledger = match config.ledger.url.as_str() {
            "" => Ledger::open_file(&config.data.join("ledger.db")).await?,
            url => Ledger::open(url).await?,
        };
        ledger.migrate(&[registry::SCHEMA, inspection::SCHEMA, alerts::SCHEMA, store::quarantine::SCHEMA]).await?;
        let secrets = Secrets::load_or_make(&config.data.join("secrets.toml"))?;
        let registry = Registry::new(ledger.clone());
        registry.reload().await?;
        let credentials = Credentials::load(&registry, secrets.fleet.clone()).await?;
        Ok(Book { ledger, registry, credentials, secrets })
    }
}

/// Makes the data folder, for its owner only: it holds addresses and phone numbers.
pub(crate) fn make_private(folder: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("making {}", folder.display()))
}

/// Bound sockets, so that a port in use is known before anything is opened.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) mqtt: TcpListener,
    pub(crate) http: TcpListener,
}

impl Listeners {
    pub(crate) async fn bind(config: &Config) -> Result<Listeners, ConfigError> {
        Ok(Listeners {
            mqtt: bind("mqtt.listen", config.mqtt.listen).await?,
            http: bind("http.listen", config.http.listen).await?,
        })
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(address).await.map_err(|error| ConfigError::Value {
        key,
        value: address.to_string(),
        problem: format!("cannot listen there: {error}; choose another address or stop what uses it"),
    })
}

/// Keeps two processes from opening one data folder; held as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    pub(crate) fn take(data: &Path) -> anyhow::Result<DataLock> {
        make_private(data)?;
        let path = data.join("lock");
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        file.try_lock().with_context(|| {
            format!("{} is in use by another gaswatch process; stop that one first", data.display())
        })?;
        Ok(DataLock { _file: file })
    }
}

/// A running system.
pub(crate) struct App {
    pub(crate) book: Book,
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    journal: Journal,
    front_door: FrontDoor,
    pipeline: Supervisor,
    rest: Supervisor,
    stop_pipeline: CancellationToken,
    stop_rest: CancellationToken,
    _lock: DataLock,
}

impl App {
    /// Opens the data folder and starts every role.
    ///
    /// # Errors
    /// When something cannot be opened; nothing keeps running then.
    pub(crate) async fn start(
        config: &Config,
        clock: Clock,
        listeners: Listeners,
        is_demo: bool,
    ) -> anyhow::Result<App> {
        let lock = DataLock::take(&config.data)?;
        let mqtt = listeners.mqtt.local_addr()?;
        let http = listeners.http.local_addr()?;
        let book = Book::open(config).await?;
        let readings = Readings::open(&config.data.join("readings"), clock.clone())?;
        let alerts = open_alerts(config, &book, clock.clone(), http).await?;
        // a journal that was lost must not number new entries like those already taken
        let taken = Pipeline::furthest(&book.ledger, &alerts, &readings).await?;
        let journal = Journal::open_after(&config.data.join("journal.db"), taken)?;
        let pipeline = Pipeline::open(ingest::Parts {
            journal: journal.clone(),
            ledger: book.ledger.clone(),
            registry: book.registry.clone(),
            alerts: alerts.clone(),
            readings: readings.clone(),
        })
        .await?;

        let (presence, presence_events) = mpsc::channel(10_000);
        let front_door = FrontDoor::start(
            listeners.mqtt,
            broker::Parts {
                journal: journal.clone(),
                credentials: book.credentials.clone(),
                clock: clock.clone(),
                presence,
            },
            broker::Settings::default(),
        )
        .await?;

        let (problems, problems_seen) = watch::channel(Vec::new());
        let metrics = Metrics {
            journal: journal.clone(),
            readings: readings.clone(),
            ingest: pipeline.counters(),
            front_door: front_door.clone(),
        };
        let console = dashboards::router(dashboards::Console {
            registry: book.registry.clone(),
            alerts: alerts.clone(),
            readings,
            credentials: book.credentials.clone(),
            clock,
            settings: dashboards::Settings {
                time_zone: config.district.time_zone.clone(),
                district: config.district.name.clone(),
                demo: is_demo,
                callback_secret: book.secrets.callbacks.clone(),
                secure_cookies: config.http.public_url.starts_with("https://"),
            },
            problems: problems_seen,
            metrics: {
                let metrics = metrics.clone();
                Arc::new(move || metrics.text())
            },
        });

        let stop_pipeline = CancellationToken::new();
        let stop_rest = CancellationToken::new();
        let mut pipeline_task = Supervisor::default();
        let stop = stop_pipeline.clone();
        pipeline_task.start("ingest", async move { Ok(pipeline.run(stop.cancelled_owned()).await?) });
        let mut rest = Supervisor::default();
        let stop = stop_rest.clone();
        let running = alerts.clone();
        rest.start("alerts", async move { Ok(running.run(stop.cancelled_owned()).await?) });
        let stop = stop_rest.clone();
        rest.start("console", async move {
            // live pages keep their connections open, so a stop does not wait for them
            tokio::select! {
                served = axum::serve(listeners.http, console) => Ok(served?),
                () = stop.cancelled() => Ok(()),
            }
        });
        rest.start("announce", announce::run(front_door.clone(), alerts.clone(), stop_rest.clone()));
        rest.start("presence", keep_presence(book.registry.clone(), presence_events, stop_rest.clone()));
        rest.start("refresh", refresh(book.clone(), metrics, problems, stop_rest.clone()));
        Ok(App {
            book,
            mqtt,
            http,
            journal,
            front_door,
            pipeline: pipeline_task,
            rest,
            stop_pipeline,
            stop_rest,
            _lock: lock,
        })
    }

    /// Runs until `stop` resolves or a part fails, then stops: no new messages, what is durable is
    /// taken to its end, then the rest.
    ///
    /// # Errors
    /// The failure that ended it.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            () = stop => Ok(()),
            failure = self.pipeline.failure() => Err(failure),
            failure = self.rest.failure() => Err(failure),
            failure = self.journal.failure() => Err(anyhow::Error::from(failure).context("the journal cannot write")),
            reason = self.front_door.failed() => Err(anyhow::anyhow!("live copies have stopped: {reason}")),
        };
        tracing::info!("stopping");
        self.front_door.stop().await;
        self.stop_pipeline.cancel();
        let pipeline = self.pipeline.finish(PATIENCE).await;
        self.stop_rest.cancel();
        let rest = self.rest.finish(PATIENCE).await;
        let journal = self.journal.close().await.map_err(anyhow::Error::from);
        self.book.ledger.close().await;
        outcome.and(pipeline).and(rest).and(journal)
    }
}

async fn open_alerts(config: &Config, book: &Book, clock: Clock, http: SocketAddr) -> anyhow::Result<Alerts> {
    let public_url = config.public_url(http);
    let kannel = &config.sms.kannel;
    let sms = (!kannel.url.is_empty()).then(|| KannelSettings {
        url: kannel.url.clone(),
        username: kannel.username.clone(),
        password: kannel.password.clone(),
        from: kannel.from.clone(),
        report_url: Some(format!("{public_url}/callbacks/{}/kannel", book.secrets.callbacks)),
    });
    let email = (!config.email.url.is_empty()).then(|| EmailSettings {
        url: config.email.url.clone(),
        from: config.email.from.clone(),
        ca_file: (!config.email.ca_file.is_empty()).then(|| config.email.ca_file.clone().into()),
    });
    if sms.is_none() && email.is_none() {
        tracing::warn!("neither sms nor email is configured: alarms are shown on the console only");
    }
    let profile = model::dose::Profile::by_name(&config.rules.profile).context("unknown alarm standard")?;
    let settings = alerts::Settings {
        profile,
        public_url,
        link_key: book.secrets.links,
        time_zone: config.district.time_zone.clone(),
    };
    Ok(Alerts::open(book.registry.clone(), clock, settings, Providers::new(sms, email)?).await?)
}

/// Writes presence events as they come, many at a time.
async fn keep_presence(
    registry: Registry,
    mut events: mpsc::Receiver<Presence>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            received = events.recv_many(&mut batch, 1_000) => {
                if received == 0 {
                    stop.cancelled().await;
                    return Ok(());
                }
            }
            () = stop.cancelled() => return Ok(()),
        }
        if let Err(error) = registry.put_presence(&batch).await {
            tracing::error!(%error, events = batch.len(), "presence could not be written");
        }
        batch.clear();
    }
}

/// Keeps memory in step with the ledger, and says what is wrong with the process.
async fn refresh(
    book: Book,
    metrics: Metrics,
    problems: watch::Sender<Vec<String>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(REFRESH_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        let mut found = metrics.problems();
        if let Err(error) = book.credentials.refresh().await {
            found.push(format!("credentials cannot be refreshed: {error}"));
        }
        if let Err(error) = book.registry.reload_if_changed().await {
            found.push(format!("the registry cannot be refreshed: {error}"));
        }
        problems.send_if_modified(|known| {
            let is_new = *known != found;
            if is_new {
                tracing::warn!(problems = ?found, "readiness changed");
                *known = found;
            }
            is_new
        });
    }
}
