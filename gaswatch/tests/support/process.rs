//! Programs that tests start: output into a file, ended with the test whatever happens.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with standard output and error appended to `log`.
    ///
    /// # Errors
    /// That the program is missing, and how to get it.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Process> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| missing(&name))?;
        Ok(Process { name, child, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        self.child.id().with_context(|| format!("{} has already ended", self.name))
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Sends a signal by name, for example `TERM` or `STOP`.
    pub(crate) async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let id = self.id()?;
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status().await?;
        if !sent.success() {
            bail!("sending {signal} to {} failed", self.name);
        }
        Ok(())
    }

    /// Waits for the end by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        timeout(within, self.child.wait())
            .await
            .with_context(|| format!("{} did not end in {within:?}\n{}", self.name, self.log_end()))?
            .with_context(|| format!("waiting for {}", self.name))
    }

    /// Fails when the process has ended, with its last words.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}\n{}", self.name, self.log_end()),
        }
    }

    /// Everything it has written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines it has written.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("-- end of the log of {} --\n{}", self.name, lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// What to do about a program that cannot be started.
pub(crate) fn missing(program: &str) -> String {
    format!("{program} cannot be started; `cargo xtask test` installs what these tests need")
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it fails, with what it said.
pub(crate) async fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().await.with_context(|| missing(&name))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
