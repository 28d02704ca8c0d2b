//! What the tests behind the feature `live` need: servers from Debian packages, one Python package.

use std::env;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, bail};

use crate::steps::{say, succeed};

/// Debian packages, and the program by which each is known on a system without dpkg.
const PACKAGES: [(&str, Option<&str>); 9] = [
    ("mosquitto", Some("mosquitto")),
    ("mosquitto-clients", Some("mosquitto_pub")),
    ("kannel", Some("bearerbox")),
    ("kannel-extras", None),
    ("chromium", Some("chromium")),
    ("chromium-driver", Some("chromedriver")),
    ("fonts-noto-cjk", None),
    ("openssl", Some("openssl")),
    ("python3-venv", Some("python3")),
];
const AIOSMTPD: &str = "1.4.6";

/// The Python environment of the tests, under cargo's target folder.
pub(crate) const VENV: &str = "test-tools";
/// Its interpreter.
pub(crate) const PYTHON: &str = "test-tools/bin/python3";

/// Installs what is missing; does nothing when all is there.
///
/// # Errors
/// What is missing and how to install it, when that cannot be done from here.
pub(crate) fn install(venv: &Path) -> anyhow::Result<()> {
    install_packages()?;
    install_smtp_server(venv)
}

fn install_packages() -> anyhow::Result<()> {
    let missing = match output(Command::new("dpkg-query").args(["-W", "-f", "${Package} ${db:Status-Abbrev}\n"])) {
        Ok(listed) => missing_packages(&String::from_utf8_lossy(&listed.stdout)),
        Err(_) => missing_programs(),
    };
    if missing.is_empty() {
        say("all servers are installed");
        return Ok(());
    }
    let packages = missing.join(" ");
    say(&format!("installing {packages}"));
    let advice = || format!("the tests need {packages}; install them with: apt-get install {packages}");
    let prefix = as_root().with_context(advice)?;
    apt(prefix, &["update"]).with_context(advice)?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(prefix, &arguments).with_context(advice)
}

/// Wanted packages that `dpkg-query`'s lines of "package status" do not show as installed.
fn missing_packages(listed: &str) -> Vec<&'static str> {
    let is_installed = |wanted: &str| {
        listed.lines().any(|line| {
            line.split_once(' ').is_some_and(|(package, status)| package == wanted && status.starts_with("ii"))
        })
    };
    PACKAGES.iter().map(|(package, _)| *package).filter(|package| !is_installed(package)).collect()
}

/// Packages whose program is nowhere to be found.
fn missing_programs() -> Vec<&'static str> {
    let has_program = |program: &Option<&str>| program.is_none_or(is_there);
    PACKAGES.iter().filter(|(_, program)| !has_program(program)).map(|(package, _)| *package).collect()
}

/// Whether a program can be started: on the path, or where servers are.
fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|folder| folder.join(program).is_file())
}

/// What to put before a command so that it runs as root.
fn as_root() -> anyhow::Result<&'static [&'static str]> {
    let id = output(Command::new("id").arg("-u"))?;
    if String::from_utf8_lossy(&id.stdout).trim() == "0" {
        return Ok(&[]);
    }
    if !is_there("sudo") {
        bail!("only root may install packages, and there is no sudo");
    }
    // asking for a password is fine only where somebody can type one
    Ok(if std::io::stdin().is_terminal() { &["sudo"] } else { &["sudo", "-n"] })
}

fn apt(prefix: &[&str], arguments: &[&str]) -> anyhow::Result<()> {
    let mut words = prefix.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    let program = words.next().context("no command")?;
    succeed(Command::new(program).args(words).args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments))
}

fn install_smtp_server(venv: &Path) -> anyhow::Result<()> {
    let python = venv.join("bin/python3");
    let version = "import aiosmtpd; print(aiosmtpd.__version__)";
    let found = output(Command::new(&python).args(["-c", version]));
    if found.is_ok_and(|found| String::from_utf8_lossy(&found.stdout).trim() == AIOSMTPD) {
        say(&format!("aiosmtpd {AIOSMTPD} is installed"));
        return Ok(());
    }
    let advice = || format!("the tests need the Python package aiosmtpd {AIOSMTPD} in {}", venv.display());
    succeed(Command::new("python3").args(["-m", "venv"]).arg(venv)).with_context(advice)?;
    let package = format!("aiosmtpd=={AIOSMTPD}");
    succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package]))
        .with_context(advice)
}

/// Runs a command for its output.
fn output(command: &mut Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fully_installed_counts() {
        let all: String = PACKAGES.iter().map(|(package, _)| format!("{package} ii \n")).collect();
        assert!(missing_packages(&all).is_empty());
        let removed = all.replace("chromium ii", "chromium rc").replace("kannel ii", "kannel iF");
        assert_eq!(missing_packages(&removed), ["kannel", "chromium"]);
        let similar = all.replace("mosquitto ii", "mosquitto-dev ii");
        assert_eq!(missing_packages(&similar), ["mosquitto"]);
        assert_eq!(missing_packages("").len(), PACKAGES.len());
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program-here"));
    }
}
