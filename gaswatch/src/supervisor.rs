//! Named long-running tasks. One that ends before it was asked to is a failure of the process.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;

#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Supervisor {
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Resolves when a task ends, which before the stop is always a failure.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow!("{name} ended by itself"),
            Some(Ok((name, Err(error)))) => error.context(format!("{name} failed")),
            Some(Err(panic)) => anyhow!("a task panicked: {panic}"),
            None => std::future::pending().await,
        }
    }

    /// Waits until all tasks have ended after they were told to, at most `patience` (real time).
    ///
    /// # Errors
    /// The first failure, or that a task did not end.
    pub(crate) async fn finish(&mut self, patience: Duration) -> anyhow::Result<()> {
        let all = async {
            let mut first = Ok(());
            while let Some(ended) = self.tasks.join_next().await {
                let outcome = match ended {
                    Ok((name, outcome)) => outcome.with_context(|| format!("{name} failed while stopping")),
                    Err(panic) => Err(anyhow!("a task panicked: {panic}")),
                };
                first = first.and(outcome);
            }
            first
        };
        tokio::time::timeout(patience, all)
            .await
            .unwrap_or_else(|_| Err(anyhow!("a part did not stop in {patience:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_is_named() {
        let mut supervisor = Supervisor::default();
        supervisor.start("forever", std::future::pending());
        supervisor.start("pipeline", async { Err(anyhow!("no disk")) });
        let failure = supervisor.failure().await;
        assert_eq!(format!("{failure:#}"), "pipeline failed: no disk");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_not_waited_for_forever() {
        let mut supervisor = Supervisor::default();
        supervisor.start("forever", std::future::pending());
        assert!(supervisor.finish(Duration::from_secs(5)).await.is_err());
    }
}
