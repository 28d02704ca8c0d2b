//! The project's own tasks: `cargo xtask test` is what a change must pass, `cargo xtask nightly` the
//! long form of it.

mod steps;
mod tools;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;

use steps::Step;

/// Tasks of the Gaswatch repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Install the servers that tests need, then check format, lints, tests and documentation
    Test,
    /// Everything of `test`, then the long forms: 100 kills
    Nightly,
}

fn main() -> ExitCode {
    match run(&Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> anyhow::Result<()> {
    let root = root()?;
    let target = target_folder(&root, env::var_os("CARGO_TARGET_DIR").map(PathBuf::from));
    let python = target.join(tools::PYTHON);
    let venv = target.join(tools::VENV);
    let mut steps = vec![
        Step::new("tools", move || tools::install(&venv)),
        cargo(&root, &target, "format", &["fmt", "--all", "--check"], &[]),
        cargo(
            &root,
            &target,
            "lints",
            &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
            &[],
        ),
        cargo(
            &root,
            &target,
            "tests",
            // what the tests measured is part of the result
            &["test", "--workspace", "--features", "gaswatch/live", "--", "--show-output"],
            &[("GASWATCH_TEST_PYTHON", &python.to_string_lossy())],
        ),
        cargo(
            &root,
            &target,
            "documentation",
            &["doc", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
    ];
    if matches!(task, Task::Nightly) {
        steps.push(cargo(
            &root,
            &target,
            "100 kills",
            &["test", "--package", "gaswatch", "--features", "gaswatch/live", "--test", "kill", "--", "--nocapture"],
            &[("GASWATCH_KILLS", "100")],
        ));
    }
    steps::run(steps)
}

/// A step that runs the cargo which runs us, in the repository's root.
fn cargo(root: &Path, target: &Path, name: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Step {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments).envs(environment.iter().copied());
    if env::var_os("CARGO_TARGET_DIR").is_some_and(|folder| !folder.is_empty()) {
        command.env("CARGO_TARGET_DIR", target);
    }
    let shown = format!("cargo {}", arguments.join(" "));
    Step::new(name, move || {
        steps::say(&shown);
        steps::succeed(&mut command)
    })
}

/// The repository's root, wherever in it the task was started.
fn root() -> anyhow::Result<PathBuf> {
    // cargo tells at run time where this package is; the path at build time may be another checkout's
    let package =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = package.parent().context("the xtask package has no parent folder")?;
    Ok(root.to_owned())
}

/// Where cargo builds; a relative `CARGO_TARGET_DIR` is relative to the folder the task was started in,
/// so it is made absolute before steps run elsewhere.
fn target_folder(root: &Path, chosen: Option<PathBuf>) -> PathBuf {
    match chosen {
        Some(folder) if !folder.as_os_str().is_empty() => std::path::absolute(&folder).unwrap_or(folder),
        _ => root.join("target"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().unwrap().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"), "{manifest}");
    }

    #[test]
    fn the_chosen_target_folder_wins() {
        let root = Path::new("/repository");
        assert_eq!(target_folder(root, Some("/shared".into())), Path::new("/shared"));
        assert_eq!(target_folder(root, None), Path::new("/repository/target"));
        assert_eq!(target_folder(root, Some(PathBuf::new())), Path::new("/repository/target"));
        assert!(target_folder(root, Some("here".into())).is_absolute());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Task::command().debug_assert();
    }
}
