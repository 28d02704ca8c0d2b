//! The `gaswatch` binary: reads the command line, hands over to a command, decides the exit code.

mod announce;
mod app;
mod commands;
mod config;
mod demo;
mod import;
mod logging;
mod metrics;
mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Watches a district's bottled gas: CO sensors, inspections, alarms that reach a person.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything with a simulated district, on this machine only
    Demo(demo::Options),
    /// Run everything for real devices
    Serve(ConfigFile),
    /// Print the configuration in force, with every key explained
    Config(ConfigFile),
    /// Check the configuration and say what is wrong with it
    Check(ConfigFile),
    /// Add or change areas, premises, sensors, people, shifts and integrations from a TOML file
    Import {
        #[command(flatten)]
        config: ConfigFile,
        /// The district file, see docs/district-file.md
        file: PathBuf,
    },
    /// Print the secret an enrolled sensor, scanner or integration signs in with
    Secret {
        #[command(flatten)]
        config: ConfigFile,
        /// Id of the sensor, scanner or integration
        id: String,
    },
    /// Set a console password, read from standard input
    Password {
        #[command(flatten)]
        config: ConfigFile,
        /// Sign-in name of an existing account
        login: String,
    },
    /// Measure how many durable publishes per second an MQTT server takes
    Load(commands::LoadOptions),
}

#[derive(Debug, Clone, clap::Args)]
struct ConfigFile {
    /// Configuration file; without it, gaswatch.toml in this folder if there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Exit code for a command line or configuration that cannot be used (sysexits EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // one TLS implementation for all of the process; an error only means that it is set already
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::say_error(&error);
            let is_usage = error.downcast_ref::<config::ConfigError>().is_some();
            if is_usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Demo(options) => runtime.block_on(demo::run(options)),
        Command::Serve(file) => runtime.block_on(commands::serve(&file.load()?)),
        Command::Config(file) => commands::print_config(&file.load()?),
        Command::Check(file) => commands::check(&file.load()?),
        Command::Import { config, file } => runtime.block_on(commands::import(&config.load()?, &file)),
        Command::Secret { config, id } => runtime.block_on(commands::secret(&config.load()?, &id)),
        Command::Password { config, login } => runtime.block_on(commands::password(&config.load()?, &login)),
        Command::Load(options) => runtime.block_on(commands::load(options)),
    }
}

impl ConfigFile {
    fn load(&self) -> Result<config::Config, config::ConfigError> {
        config::Config::load(self.config.as_deref(), std::env::vars())
    }
}
