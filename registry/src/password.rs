//! Passwords as Argon2id (the crate's default: 19 MiB, 2 passes), hashed off the async threads.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::RegistryError;

/// Hashes running at once, so that a flood of sign-ins costs waiting, not memory.
const AT_ONCE: usize = 2;

pub(crate) struct Passwords(Semaphore);

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords(Semaphore::new(AT_ONCE))
    }
}

impl Passwords {
    /// The PHC string to keep.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, RegistryError> {
        let password = password.to_owned();
        self.run(move || hash(&password)).await
    }

    /// Whether `password` is the one that `kept` was made from. Without `kept` the answer is no, at
    /// the same cost.
    pub(crate) async fn verify(&self, password: &str, kept: Option<String>) -> Result<bool, RegistryError> {
        let password = password.to_owned();
        self.run(move || match kept {
            Some(kept) => {
                let kept = PasswordHash::new(&kept).map_err(|error| RegistryError::Password(error.to_string()))?;
                Ok(Argon2::default().verify_password(password.as_bytes(), &kept).is_ok())
            }
            None => hash(&password).map(|_| false),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let _permit = self.0.acquire().await.map_err(|error| RegistryError::Password(error.to_string()))?;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(RegistryError::Password(error.to_string())),
        }
    }
}

fn hash(password: &str) -> Result<String, RegistryError> {
    let salt = crate::random_bytes::<16>()?;
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| RegistryError::Password(error.to_string()))?;
    Ok(hash.to_string())
}
