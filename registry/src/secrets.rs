//! The keys of this installation: a file only its owner can read, made at first start.

use std::path::Path;

use crate::RegistryError;

/// Keys that device secrets derive from, by version. `Debug` shows no key.
#[derive(Clone)]
pub struct FleetKeys {
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

impl std::fmt::Debug for FleetKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FleetKeys({} versions)", self.keys.len())
    }
}

impl Secrets {
    /// Reads the file, or makes it with fresh random keys and mode 0600.
    pub fn load_or_make(path: &Path) -> Result<Secrets, RegistryError> {
        let _ = path;
        todo!()
    }
}
