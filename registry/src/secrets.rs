//! The keys of this installation: a file only its owner can read, made at first start.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use store::StoreError;
use subtle::ConstantTimeEq;

use crate::{RegistryError, base64url, random_bytes, random_text};

/// Keys that device secrets derive from, by version. `Debug` shows no key.
#[derive(Clone)]
pub struct FleetKeys {
    /// Version 1 first; never empty.
    keys: Vec<[u8; 32]>,
}

/// Everything in `secrets.toml`.
#[derive(Clone)]
pub struct Secrets {
    pub fleet: FleetKeys,
    /// Signs acknowledge links.
    pub links: [u8; 32],
    /// Part of provider callback addresses.
    pub callbacks: String,
}

/// The file. Keys are base64url.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFile {
    fleet: Vec<String>,
    links: String,
    callbacks: String,
}

const HEADER: &str = "\
# The keys of this Gaswatch installation. Keep this file secret, and keep a copy in a safe place:
# without it every device must be enrolled anew.
#
# fleet:     device secrets derive from these; append a new one to change the key, never remove one
#            that devices still use
# links:     signs the links in messages
# callbacks: part of the addresses that SMS and call providers report to
";

impl std::fmt::Debug for FleetKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FleetKeys({} versions)", self.keys.len())
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl FleetKeys {
    /// The version that new secrets derive from; versions count from 1.
    pub fn newest(&self) -> u32 {
        self.keys.len() as u32
    }

    /// The secret of `id` under a key version: base64url of HMAC-SHA256 over `gaswatch device ` and
    /// the id. `None` when there is no such version.
    pub fn secret(&self, version: u32, id: &str) -> Option<String> {
        let index = version.checked_sub(1)? as usize;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.keys.get(index)?).ok()?;
        mac.update(b"gaswatch device ");
        mac.update(id.as_bytes());
        Some(base64url(&mac.finalize().into_bytes()))
    }

    /// Whether `secret` is the secret of `id` under a key version, in constant time.
    pub(crate) fn verify(&self, version: u32, id: &str, secret: &[u8]) -> bool {
        self.secret(version, id).is_some_and(|expected| expected.as_bytes().ct_eq(secret).into())
    }
}

impl Secrets {
    /// Fresh random keys.
    ///
    /// # Errors
    /// [`RegistryError::Random`].
    pub fn generate() -> Result<Secrets, RegistryError> {
        Ok(Secrets {
            fleet: FleetKeys { keys: vec![random_bytes()?] },
            links: random_bytes()?,
            callbacks: random_text::<32>()?,
        })
    }

    /// Reads the file, or makes it with fresh random keys and mode 0600. Of several processes that
    /// start at once, all get the keys of one. A file that others can read is used with a warning.
    ///
    /// # Errors
    /// When the file cannot be read or made, or its content is not understood; it is then left as
    /// it is.
    pub fn load_or_make(path: &Path) -> Result<Secrets, RegistryError> {
        match fs::read_to_string(path) {
            Ok(text) => {
                warn_if_open(path);
                parse(&text, path)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let secrets = Secrets::generate()?;
                if make_file(path, &to_text(&secrets)?)? {
                    return Ok(secrets);
                }
                parse(&fs::read_to_string(path).map_err(|error| io(path, error))?, path)
            }
            Err(error) => Err(io(path, error)),
        }
    }
}

fn to_text(secrets: &Secrets) -> Result<String, RegistryError> {
    let file = SecretsFile {
        fleet: secrets.fleet.keys.iter().map(|key| base64url(key)).collect(),
        links: base64url(&secrets.links),
        callbacks: secrets.callbacks.clone(),
    };
    let body = toml::to_string(&file).map_err(|error| RegistryError::Invalid(error.to_string()))?;
    Ok(format!("{HEADER}{body}"))
}

/// Errors name the line, never its content: they end up in logs.
fn parse(text: &str, path: &Path) -> Result<Secrets, RegistryError> {
    let wrong = |what: &str| RegistryError::Invalid(format!("{}: {what}", path.display()));
    let file: SecretsFile = toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(&format!("line {line} is not understood; expected fleet (a list), links and callbacks"))
    })?;
    let keys: Vec<[u8; 32]> = file
        .fleet
        .iter()
        .enumerate()
        .map(|(n, key)| key_of(key).ok_or_else(|| wrong(&format!("fleet key {} is not 32 bytes in base64url", n + 1))))
        .collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(wrong("there is no fleet key"));
    }
    let links = key_of(&file.links).ok_or_else(|| wrong("links is not 32 bytes in base64url"))?;
    let is_for_addresses = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if file.callbacks.len() < 16 || !file.callbacks.chars().all(is_for_addresses) {
        return Err(wrong("callbacks must be at least 16 of A-Z a-z 0-9 _ -"));
    }
    Ok(Secrets { fleet: FleetKeys { keys }, links, callbacks: file.callbacks })
}

fn key_of(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Makes the file whole and durable or not at all; `false` when there is one by now.
fn make_file(path: &Path, text: &str) -> Result<bool, RegistryError> {
    let mut draft_name = path.as_os_str().to_owned();
    draft_name.push(format!(".{}.new", random_text::<6>()?));
    let draft = Path::new(&draft_name);
    // Unlike a rename, a link never replaces a file that another process has just made.
    let made = write_new(draft, text).and_then(|()| fs::hard_link(draft, path));
    let removed = fs::remove_file(draft);
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(io(path, error)),
    }
    removed.map_err(|error| io(draft, error))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| io(directory, error))?;
    Ok(true)
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others can read the keys: chmod 600 this file");
        }
    }
}

fn io(path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::Store(StoreError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
