//! The configuration: `gaswatch.toml`, every key with a default, overridable by
//! `GASWATCH__SECTION__KEY` in the environment.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

const DEFAULT_FILE: &str = "gaswatch.toml";
const ENV_PREFIX: &str = "GASWATCH__";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) district: District,
    pub(crate) mqtt: Mqtt,
    pub(crate) http: Http,
    pub(crate) ledger: Ledger,
    pub(crate) rules: Rules,
    pub(crate) sms: Sms,
    pub(crate) email: Email,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct District {
    pub(crate) name: String,
    pub(crate) time_zone: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mqtt {
    pub(crate) listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) profile: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sms {
    pub(crate) kannel: Kannel,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kannel {
    pub(crate) url: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) from: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Email {
    pub(crate) url: String,
    pub(crate) from: String,
    pub(crate) ca_file: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) json: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data: PathBuf::from("gaswatch-data"),
            district: District::default(),
            mqtt: Mqtt::default(),
            http: Http::default(),
            ledger: Ledger::default(),
            rules: Rules::default(),
            sms: Sms::default(),
            email: Email::default(),
            log: Log::default(),
        }
    }
}

impl Default for District {
    fn default() -> District {
        District { name: "白云区 Baiyun".to_owned(), time_zone: "Asia/Shanghai".to_owned() }
    }
}

impl Default for Mqtt {
    fn default() -> Mqtt {
        Mqtt { listen: SocketAddr::from(([127, 0, 0, 1], 1883)) }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), public_url: String::new() }
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { profile: "en50291".to_owned() }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { filter: "info,rumqttd=warn".to_owned(), json: false }
    }
}

/// Why a configuration cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: {source}", path = .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{place}: {message}")]
    Syntax { place: String, message: String },
    #[error("{key} = {value:?}: {problem}")]
    Value { key: &'static str, value: String, problem: String },
}

impl Config {
    /// Reads `file`, or `gaswatch.toml` here if there is one, then the environment on top.
    ///
    /// # Errors
    /// [`ConfigError`] with the place and the problem.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(missing) if file.is_none() && missing.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let mut config = Config::parse(&text, &path.display().to_string(), environment)?;
        // relative folders mean: beside the file they are written in
        if let Some(folder) = path.parent() {
            config.data = folder.join(&config.data);
        }
        config.check()?;
        Ok(config)
    }

    fn parse(
        text: &str,
        place: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let syntax = |place: &str, error: &toml::de::Error| ConfigError::Syntax {
            place: place.to_owned(),
            message: error.to_string(),
        };
        // the file alone first, so that its errors come with line and column
        toml::from_str::<Config>(text).map_err(|error| syntax(place, &error))?;
        let mut table: Table = toml::from_str(text).map_err(|error| syntax(place, &error))?;
        for (name, value) in environment {
            let Some(keys) = name.strip_prefix(ENV_PREFIX) else { continue };
            let keys: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
            let mut overlaid = table.clone();
            overlay(&mut overlaid, &keys, value);
            overlaid.clone().try_into::<Config>().map_err(|error| syntax(&name, &error))?;
            table = overlaid;
        }
        table.try_into().map_err(|error| syntax(place, &error))
    }

    /// What types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, value: &str, problem: String| ConfigError::Value { key, value: value.to_owned(), problem };
        if jiff::tz::TimeZone::get(&self.district.time_zone).is_err() {
            let problem = "no such time zone; use a name such as Asia/Shanghai".to_owned();
            return Err(wrong("district.time_zone", &self.district.time_zone, problem));
        }
        if model::dose::Profile::by_name(&self.rules.profile).is_none() {
            let problem = "no such alarm standard; use en50291 or ul2034".to_owned();
            return Err(wrong("rules.profile", &self.rules.profile, problem));
        }
        let public_url = &self.http.public_url;
        if !public_url.is_empty() && !public_url.starts_with("http://") && !public_url.starts_with("https://") {
            let problem = "must begin with http:// or https://".to_owned();
            return Err(wrong("http.public_url", public_url, problem));
        }
        let sends = !self.sms.kannel.url.is_empty() || !self.email.url.is_empty();
        if sends && public_url.is_empty() {
            let problem = "needed where messages are sent: the links in them must open on a phone, \
                           for example https://gaswatch.example.org"
                .to_owned();
            return Err(wrong("http.public_url", "", problem));
        }
        if !self.email.url.is_empty() && self.email.from.is_empty() {
            let problem = "needed beside email.url, for example Gaswatch <gaswatch@example.org>".to_owned();
            return Err(wrong("email.from", "", problem));
        }
        Ok(())
    }

    /// Address of the console as phones reach it, without a slash at the end.
    pub(crate) fn public_url(&self, listening: SocketAddr) -> String {
        match self.http.public_url.trim_end_matches('/') {
            "" => format!("http://{listening}"),
            url => url.to_owned(),
        }
    }

    /// The configuration as a file with every key explained. Passwords are shown as `********`.
    pub(crate) fn explained(&self) -> String {
        let mut text = String::new();
        let quoted = |text: &str| Value::String(text.to_owned()).to_string();
        let hidden = |text: &str| quoted(if text.is_empty() { "" } else { "********" });
        let mut line = |comment: &str, assignment: String| {
            for comment in comment.lines() {
                let _ = writeln!(text, "# {comment}");
            }
            let _ = writeln!(text, "{assignment}");
        };
        line(
            "Folder of all data: journal, readings, ledger, keys. Beside this file if relative.",
            format!("data = {}", quoted(&self.data.to_string_lossy())),
        );
        line("", "\n[district]".to_owned());
        line("Shown on every page", format!("name = {}", quoted(&self.district.name)));
        line(
            "IANA zone of windows, due dates, shifts and reports",
            format!("time_zone = {}", quoted(&self.district.time_zone)),
        );
        line("", "\n[mqtt]".to_owned());
        line(
            "Where sensors connect. Plain TCP: keep it on loopback or a network of your own.",
            format!("listen = {}", quoted(&self.mqtt.listen.to_string())),
        );
        line("", "\n[http]".to_owned());
        line("Console and API", format!("listen = {}", quoted(&self.http.listen.to_string())));
        line(
            "Address of the console as phones reach it; links in messages begin with it.\nEmpty = http://listen",
            format!("public_url = {}", quoted(&self.http.public_url)),
        );
        line("", "\n[ledger]".to_owned());
        line(
            "postgres://user:password@host/database. Empty = SQLite in the data folder",
            format!("url = {}", hidden(&self.ledger.url)),
        );
        line("", "\n[rules]".to_owned());
        line(
            "Alarm standard of the CO dose rule: en50291 or ul2034. 300 ppm and a sensor's own alarm always count.",
            format!("profile = {}", quoted(&self.rules.profile)),
        );
        line("", "\n[sms.kannel]".to_owned());
        line(
            "sendsms address of a Kannel gateway, for example http://127.0.0.1:13013/cgi-bin/sendsms. Empty = no SMS",
            format!("url = {}", quoted(&self.sms.kannel.url)),
        );
        line("", format!("username = {}", quoted(&self.sms.kannel.username)));
        line(
            "Better given as GASWATCH__SMS__KANNEL__PASSWORD",
            format!("password = {}", hidden(&self.sms.kannel.password)),
        );
        line("Sender number", format!("from = {}", quoted(&self.sms.kannel.from)));
        line("", "\n[email]".to_owned());
        line(
            "smtp://user:password@host:587?tls=required, smtps://..., or file:folder for .eml files. Empty = no email",
            format!("url = {}", hidden(&self.email.url)),
        );
        line("", format!("from = {}", quoted(&self.email.from)));
        line(
            "PEM file of your own certificate authority (not the server's own certificate); empty = the system's",
            format!("ca_file = {}", quoted(&self.email.ca_file)),
        );
        line("", "\n[log]".to_owned());
        line("tracing filter, for example broker=debug,info", format!("filter = {}", quoted(&self.log.filter)));
        line("One JSON object per line instead of text", format!("json = {}", self.log.json));
        text
    }
}

/// Sets `table.a.b` to `text`, read as a boolean or number where it looks like one.
fn overlay(table: &mut Table, keys: &[String], text: String) {
    let Some((key, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        let value = match text.parse::<bool>() {
            Ok(flag) => Value::Boolean(flag),
            Err(_) => Value::String(text),
        };
        table.insert(key.clone(), value);
    } else {
        let inner = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(inner) = inner {
            overlay(inner, rest, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::parse(text, "gaswatch.toml", environment)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn the_explained_default_reads_back_as_the_default() {
        let printed = Config::default().explained();
        assert_eq!(parse(&printed, &[]).unwrap(), Config::default(), "{printed}");
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = parse(
            "[http]\nlisten = \"127.0.0.1:1\"",
            &[
                ("GASWATCH__HTTP__LISTEN", "127.0.0.1:2"),
                ("GASWATCH__SMS__KANNEL__PASSWORD", "12345"),
                ("GASWATCH__LOG__JSON", "true"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.sms.kannel.password, "12345");
        assert!(config.log.json);
    }

    #[test]
    fn errors_name_the_place() {
        let unknown = parse("[mqtt]\nlisen = \"x\"", &[]).unwrap_err().to_string();
        assert!(
            unknown.contains("gaswatch.toml") && unknown.contains("lisen") && unknown.contains("line 2"),
            "{unknown}"
        );
        let variable = parse("", &[("GASWATCH__MQTT__LISTEN", "here")]).unwrap_err().to_string();
        assert!(variable.contains("GASWATCH__MQTT__LISTEN"), "{variable}");
        let zone = parse("[district]\ntime_zone = \"Mars/Base\"", &[]).unwrap_err().to_string();
        assert!(zone.contains("district.time_zone") && zone.contains("Mars/Base"), "{zone}");
    }

    #[test]
    fn messages_need_an_address_that_phones_can_open() {
        let error = parse("[sms.kannel]\nurl = \"http://127.0.0.1:13013/cgi-bin/sendsms\"", &[]).unwrap_err();
        assert!(error.to_string().contains("http.public_url"), "{error}");
    }

    #[test]
    fn passwords_are_never_printed() {
        let mut config = Config::default();
        config.sms.kannel.password = "hunter2".to_owned();
        config.email.url = "smtp://u:hunter2@host".to_owned();
        config.ledger.url = "postgres://u:hunter2@host/d".to_owned();
        assert!(!config.explained().contains("hunter2"));
    }
}
