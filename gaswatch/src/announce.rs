//! Tells integrations about incidents: `gas/v1/incidents/{area}/{incident}`, retained while open.

use alerts::{Alerts, Incident, IncidentState};
use broker::FrontDoor;
use model::topic::PREFIX;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// Area of an incident whose sensor hangs nowhere we know.
const PLACE_UNKNOWN: &str = "unknown";

pub(crate) async fn run(front_door: FrontDoor, alerts: Alerts, stop: CancellationToken) -> anyhow::Result<()> {
    let mut changes = alerts.changes();
    announce_open(&front_door, &alerts).await;
    loop {
        let changed = tokio::select! {
            changed = changes.recv() => changed,
            () = stop.cancelled() => return Ok(()),
        };
        match changed {
            Ok(id) => match alerts.detail(id).await {
                Ok(Some(detail)) => announce(&front_door, &detail.incident),
                Ok(None) => {}
                Err(error) => tracing::error!(incident = id, %error, "an incident cannot be announced"),
            },
            // some changes were missed: all open ones again, which is harmless
            Err(RecvError::Lagged(_)) => announce_open(&front_door, &alerts).await,
            Err(RecvError::Closed) => {
                stop.cancelled().await;
                return Ok(());
            }
        }
    }
}

async fn announce_open(front_door: &FrontDoor, alerts: &Alerts) {
    match alerts.open_incidents().await {
        Ok(incidents) => incidents.iter().for_each(|incident| announce(front_door, incident)),
        Err(error) => tracing::error!(%error, "open incidents cannot be announced"),
    }
}

fn announce(front_door: &FrontDoor, incident: &Incident) {
    let topic = format!("{PREFIX}incidents/{}/{}", incident.area.as_deref().unwrap_or(PLACE_UNKNOWN), incident.id);
    let is_open = incident.state != IncidentState::Resolved;
    let told = front_door
        .publish(&topic, payload(incident), is_open)
        .and_then(|()| if is_open { Ok(()) } else { front_door.publish(&topic, Vec::new(), true) });
    if let Err(error) = told {
        tracing::error!(topic, %error, "an incident cannot be announced");
    }
}

/// The incident without personal data.
fn payload(incident: &Incident) -> Vec<u8> {
    json!({
        "id": incident.id,
        "hazard": incident.hazard.as_str(),
        "level": incident.level.as_str(),
        "state": incident.state.as_str(),
        "premises": incident.premises,
        "sensor": incident.sensor.as_str(),
        "rule": incident.decision.code(),
        "opened": incident.opened.to_rfc3339(),
        "raised": incident.raised.to_rfc3339(),
        "cleared": incident.cleared.and_then(model::Stamp::to_rfc3339),
        "peak_ppm": incident.peak_ppm,
        "last_ppm": incident.last_ppm,
        "late": incident.late,
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use alerts::incident::Decision;
    use model::{DeviceId, Hazard, Level, Stamp};

    use super::*;

    #[test]
    fn what_is_announced_holds_no_personal_data() {
        let incident = Incident {
            id: 7,
            hazard: Hazard::Co,
            level: Level::Danger,
            state: IncidentState::Open,
            premises: Some("P1".to_owned()),
            area: Some("shijing".to_owned()),
            address: Some("石井街潭村西街7号302".to_owned()),
            room: "浴室".to_owned(),
            sensor: DeviceId::new("S1").unwrap(),
            decision: Decision::Immediate { ppm: 412.0, limit_ppm: 300.0 },
            opened: Stamp(1_780_000_000_000),
            raised: Stamp(1_780_000_000_000),
            cleared: None,
            acknowledged: None,
            resolved: None,
            outcome: None,
            late: false,
            peak_ppm: Some(412.0),
            last_ppm: Some(412.0),
            last_reading: None,
        };
        let text = String::from_utf8(payload(&incident)).unwrap();
        assert!(text.contains("\"peak_ppm\":412.0") && text.contains("\"state\":\"open\""), "{text}");
        assert!(!text.contains("潭村"), "{text}");
    }
}
