//! Accepting connections. Nothing here waits for a client: each socket is served by its own task from
//! its first byte on.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::Shared;
use crate::connect::serve;

/// Pause after a failed accept, for example when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the front door stops. `alive` is held by every task, so that its receiver knows when
/// all have ended.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, alive: mpsc::Sender<()>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let open = alive.strong_count().saturating_sub(1);
        if open >= shared.settings.most_connections {
            shared.tally.too_many_connections.one();
            continue;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY");
        }
        let (shared, alive) = (shared.clone(), alive.clone());
        tokio::spawn(async move {
            serve(stream, peer, shared).await;
            drop(alive);
        });
    }
}
