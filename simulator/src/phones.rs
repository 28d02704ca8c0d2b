//! A mobile network with an SMS gateway in front, spoken to as Kannel's `sendsms`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::{self, HttpError};

/// How the gateway is set up.
#[derive(Clone)]
pub struct PhonesOptions {
    pub username: String,
    pub password: String,
    /// Real time between the gateway's acceptance and the handset.
    pub handset_delay: Duration,
}

/// A message on a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sms {
    /// Running number over all phones.
    pub id: u64,
    pub to: String,
    pub from: String,
    pub text: String,
    /// When the handset got it, real time.
    pub at: Instant,
}

/// The network with all its phones. A cheap handle.
#[derive(Clone)]
pub struct Phones(Arc<Network>);

struct Network {
    options: PhonesOptions,
    client: reqwest::Client,
    inboxes: Mutex<HashMap<String, VecDeque<Sms>>>,
    received: broadcast::Sender<Sms>,
    count: AtomicU64,
    on_the_way: Arc<Semaphore>,
}

/// A phone keeps this many messages, the newest.
const INBOX: usize = 1_000;
const ON_THE_WAY_AT_ONCE: usize = 256;
const LAG: usize = 4_096;

/// Kannel's delivery report kinds, also the bits of `dlr-mask`.
const DELIVERED: u32 = 1;
const ACCEPTED_BY_SMSC: u32 = 8;

impl Phones {
    /// # Errors
    /// When no HTTP client for delivery reports can be made.
    pub fn new(options: PhonesOptions) -> Result<Phones, HttpError> {
        Ok(Phones(Arc::new(Network {
            options,
            client: http::client()?,
            inboxes: Mutex::default(),
            received: broadcast::Sender::new(LAG),
            count: AtomicU64::new(0),
            on_the_way: Arc::new(Semaphore::new(ON_THE_WAY_AT_ONCE)),
        })))
    }

    /// Serves `GET /cgi-bin/sendsms` until `stop`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let routes = Router::new().route("/cgi-bin/sendsms", get(send_sms)).with_state(self.clone());
        axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    /// All messages that reach a handset from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Sms> {
        self.0.received.subscribe()
    }

    /// The messages on one phone, oldest first.
    pub fn inbox(&self, number: &str) -> Vec<Sms> {
        let inboxes = self.0.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        inboxes.get(number).map(|messages| messages.iter().cloned().collect()).unwrap_or_default()
    }

    /// How many messages have reached a handset.
    pub fn received(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    async fn carry(self, order: Order, _permit: OwnedSemaphorePermit) {
        self.report(&order, ACCEPTED_BY_SMSC).await;
        tokio::time::sleep(self.0.options.handset_delay).await;
        for number in &order.to {
            self.arrive(number, &order);
        }
        self.report(&order, DELIVERED).await;
    }

    fn arrive(&self, number: &str, order: &Order) {
        let id = self.0.count.fetch_add(1, Ordering::Relaxed) + 1;
        let sms =
            Sms { id, to: number.to_owned(), from: order.from.clone(), text: order.text.clone(), at: Instant::now() };
        let mut inboxes = self.0.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = inboxes.entry(number.to_owned()).or_default();
        if inbox.len() == INBOX {
            inbox.pop_front();
        }
        inbox.push_back(sms.clone());
        drop(inboxes);
        // nobody listening is fine: the message is in the inbox
        let _ = self.0.received.send(sms);
    }

    async fn report(&self, order: &Order, kind: u32) {
        let Some(url) = order.report_url.as_ref().filter(|_| order.report_mask & kind != 0) else { return };
        let url = url.replace("%d", &kind.to_string());
        if let Err(error) = http_get(&self.0.client, &url).await {
            tracing::warn!(%error, "the gateway's delivery report was not taken");
        }
    }
}

async fn http_get(client: &reqwest::Client, url: &str) -> Result<(), HttpError> {
    http::get_text(client, url).await.map(drop)
}

/// A message as ordered.
struct Order {
    to: Vec<String>,
    from: String,
    text: String,
    report_url: Option<String>,
    report_mask: u32,
}

async fn send_sms(State(phones): State<Phones>, RawQuery(query): RawQuery) -> (StatusCode, &'static str) {
    let parameters = parameters(query.as_deref().unwrap_or_default());
    let text_of = |names: &[&str]| {
        let value = names.iter().find_map(|name| parameters.get(*name));
        value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    let options = &phones.0.options;
    if text_of(&["username", "user"]) != options.username || text_of(&["password", "pass"]) != options.password {
        return (StatusCode::FORBIDDEN, "Authorization failed for sendsms");
    }
    let to: Vec<String> = text_of(&["to"]).split_whitespace().map(str::to_owned).collect();
    if to.is_empty() {
        return (StatusCode::BAD_REQUEST, "Missing receiver number, rejected");
    }
    let from = text_of(&["from"]);
    if from.is_empty() {
        return (StatusCode::BAD_REQUEST, "Sender missing and no global set, rejected");
    }
    let empty = Vec::new();
    let text = parameters.get("text").unwrap_or(&empty);
    let Some(text) = decode(text, &text_of(&["charset"]), &text_of(&["coding"])) else {
        return (StatusCode::BAD_REQUEST, "Charset or body misformed, rejected");
    };
    let report_url = Some(text_of(&["dlr-url"])).filter(|url| !url.is_empty());
    let report_mask = text_of(&["dlr-mask"]).parse().unwrap_or(0);
    let order = Order { to, from, text, report_url, report_mask };
    match phones.0.on_the_way.clone().acquire_owned().await {
        Ok(permit) => {
            tokio::spawn(phones.carry(order, permit));
            (StatusCode::ACCEPTED, "0: Accepted for delivery")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Temporal failure, try again later."),
    }
}

/// Names and raw values of a query: the text's bytes mean nothing before its charset is known.
fn parameters(query: &str) -> HashMap<String, Vec<u8>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (String::from_utf8_lossy(&percent_decoded(name)).into_owned(), percent_decoded(value))
    };
    query.split('&').map(pair).collect()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => plain.push(b' '),
            (byte, ..) => plain.push(*byte),
        }
        at += 1;
    }
    plain
}

/// Kannel's rule: without a charset a text is UTF-8, or UTF-16BE when it is to be sent as UCS-2.
fn decode(text: &[u8], charset: &str, coding: &str) -> Option<String> {
    let charset = match (charset, coding) {
        ("", "2") => "utf-16be".to_owned(),
        ("", _) => "utf-8".to_owned(),
        (named, _) => named.to_ascii_lowercase(),
    };
    match charset.as_str() {
        "utf-8" | "utf8" => String::from_utf8(text.to_vec()).ok(),
        "utf-16be" | "ucs-2" if text.len().is_multiple_of(2) => {
            let units: Vec<u16> = text.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Path;
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;
    use crate::testing;

    async fn network() -> (Phones, String) {
        let options =
            PhonesOptions { username: "gas".into(), password: "s3cret".into(), handset_delay: Duration::ZERO };
        let phones = Phones::new(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cgi-bin/sendsms", listener.local_addr().unwrap());
        let served = phones.clone();
        tokio::spawn(async move { served.serve(listener, CancellationToken::new()).await });
        (phones, url)
    }

    async fn ask(url: &str, query: &[(&str, &str)]) -> (u16, String) {
        let response = http::client().unwrap().get(url).query(query).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn a_message_arrives_and_both_reports_come_in_order() {
        let (sender, mut reports) = mpsc::channel(8);
        let routes = Router::new().route(
            "/report/{key}/{kind}",
            get(move |Path((key, kind)): Path<(String, u32)>| async move {
                sender.send((key, kind)).await.unwrap();
            }),
        );
        let reports_base = testing::serve(routes).await;
        let (phones, url) = network().await;
        let mut received = phones.subscribe();
        let report_url = format!("{reports_base}/report/k1/%d");
        let query = [
            ("username", "gas"),
            ("password", "s3cret"),
            ("from", "10690000"),
            ("to", "13800000001"),
            ("text", "一氧化碳 320 ppm + 100%"),
            ("coding", "2"),
            ("charset", "utf-8"),
            ("dlr-url", &report_url),
            ("dlr-mask", "31"),
        ];
        assert_eq!(ask(&url, &query).await, (202, "0: Accepted for delivery".to_owned()));
        let sms = received.recv().await.unwrap();
        assert_eq!((sms.to.as_str(), sms.text.as_str()), ("13800000001", "一氧化碳 320 ppm + 100%"));
        assert_eq!(reports.recv().await.unwrap(), ("k1".to_owned(), 8));
        assert_eq!(reports.recv().await.unwrap(), ("k1".to_owned(), 1));
        assert_eq!(phones.inbox("13800000001"), [sms]);
        assert_eq!(phones.inbox("13800000002"), []);
        assert_eq!(phones.received(), 1);
    }

    #[tokio::test]
    async fn what_kannel_refuses_is_refused() {
        let (phones, url) = network().await;
        let good = [("username", "gas"), ("password", "s3cret"), ("from", "1"), ("to", "2"), ("text", "x")];
        let with = |name: &str, value: &'static str| good.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
        assert_eq!(ask(&url, &with("password", "guess")).await.0, 403);
        assert_eq!(ask(&url, &with("to", "")).await.0, 400);
        assert_eq!(ask(&url, &with("from", "")).await.0, 400);
        // UTF-8 bytes announced as UCS-2 without a charset would be garbage on the handset
        let mut garbled = good.to_vec();
        garbled.push(("coding", "2"));
        assert_eq!(ask(&url, &garbled).await.0, 400);
        assert_eq!(phones.received(), 0);
    }

    proptest! {
        #[test]
        fn any_text_survives_the_query(text in "\\PC*") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let found = parameters(&format!("a=b&text={encoded}&coding=0"));
            prop_assert_eq!(decode(&found["text"], "", "0"), Some(text.clone()));
            let utf16: String = text.encode_utf16().flat_map(u16::to_be_bytes).map(|byte| format!("%{byte:02x}")).collect();
            let found = parameters(&format!("text={utf16}"));
            prop_assert_eq!(decode(&found["text"], "", "2"), Some(text));
        }

        #[test]
        fn no_query_makes_it_fail(query in ".*") {
            let found = parameters(&query);
            for value in found.values() {
                let _ = decode(value, "ucs-2", "2");
            }
        }
    }
}
