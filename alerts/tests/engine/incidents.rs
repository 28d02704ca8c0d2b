use alerts::AlertError;
use alerts::incident::{Decision, Incident, IncidentState, Outcome, Via};
use alerts::query::EventKind;
use model::reading::Flags;
use model::time::{MINUTE, SECOND};
use model::{Reading, SensorState};
use store::Position;

use crate::world::{DEPUTY, OFFICER, START, SUPERVISOR, World, co};

fn outcome() -> Outcome {
    Outcome { cause: "热水器排烟不畅".to_owned(), people_affected: 1, action: "停用并维修".to_owned() }
}

async fn incident(world: &World, id: i64) -> Incident {
    world.detail(id).await.incident
}

#[tokio::test]
async fn an_incident_keeps_the_place_as_it_was_when_it_opened() {
    let world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    world.sql("UPDATE premises SET address = 'somewhere else'").await;
    world.registry.reload().await.unwrap();
    let incident = incident(&world, world.the_incident().await).await;
    assert_eq!(incident.address.as_deref(), Some("石井街石沙路18号402室"));
    assert_eq!((incident.premises.as_deref(), incident.area.as_deref()), (Some("H1"), Some("shijing")));
    assert_eq!(incident.room, "浴室");
    assert_eq!(incident.decision, Decision::Immediate { ppm: 412.0, limit_ppm: 300.0 });
    assert_eq!((incident.peak_ppm, incident.last_ppm, incident.last_reading), (Some(412.0), Some(412.0), Some(START)));
}

#[tokio::test]
async fn unbound_and_unknown_sensors_have_incidents_of_their_own() {
    let world = World::new().await;
    world.observe(&[co(1, "S4", START, 412.0), co(2, "NOBODY-KNOWS", START, 500.0), co(3, "S4", START, 500.0)]).await;
    let incidents = world.alerts.open_incidents().await.unwrap();
    assert_eq!(incidents.len(), 2);
    assert!(incidents.iter().all(|incident| incident.address.is_none() && incident.premises.is_none()));
}

#[tokio::test]
async fn clean_air_costs_no_statement() {
    let world = World::new().await;
    world.sql("ALTER TABLE incidents RENAME TO hidden").await;
    world.sql("ALTER TABLE sensor_states RENAME TO hidden_too").await;
    let readings: Vec<_> = (1..=1_000).map(|n| co(n, "S1", START + n as i64 * SECOND, 12.0)).collect();
    world.observe(&readings).await;
    assert_eq!(world.alerts.applied(), Position(0));
}

#[tokio::test]
async fn a_second_sensor_voids_the_answer_and_starts_again() {
    let mut world = World::new().await;
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let id = world.the_incident().await;
    world.gateway.next().await;
    world.alerts.acknowledge(id, "p1", Via::Console).await.unwrap();

    // the same sensor saying the same is no news
    world.observe(&[co(2, "S1", START + MINUTE, 450.0)]).await;
    assert_eq!(incident(&world, id).await.state, IncidentState::Acknowledged);

    world.clock.advance(2 * MINUTE);
    world.observe(&[co(3, "S2", world.clock.now(), 320.0)]).await;
    let detail = world.detail(id).await;
    assert_eq!((detail.incident.state, detail.incident.acknowledged), (IncidentState::Open, None));
    assert_eq!(detail.incident.raised, START + 2 * MINUTE);
    assert_eq!(detail.incident.decision, Decision::Immediate { ppm: 320.0, limit_ppm: 300.0 });
    assert_eq!(world.gateway.next_numbers(1).await, [OFFICER]);
    world.clock.advance(MINUTE);
    assert_eq!(world.gateway.next_numbers(2).await, [DEPUTY, SUPERVISOR]);
    world.stop().await;
}

#[tokio::test]
async fn a_second_sensor_does_not_delay_steps_that_are_under_way() {
    let world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    world.clock.advance(50 * SECOND);
    world.observe(&[co(2, "S2", START + 50 * SECOND, 412.0)]).await;
    let detail = world.detail(world.the_incident().await).await;
    assert_eq!(detail.next_step, Some(START + MINUTE));
    assert_eq!(detail.notifications.len(), 1);
    assert!(detail.events.iter().any(|event| event.kind == EventKind::Raised));
}

#[tokio::test]
async fn stronger_evidence_voids_the_answer() {
    let world = World::new().await;
    let mut alarm = co(1, "S1", START, 60.0);
    alarm.reading.state = Some(SensorState::Alarm);
    world.observe(&[alarm]).await;
    let id = world.the_incident().await;
    assert_eq!(incident(&world, id).await.decision, Decision::SensorAlarm { ppm: Some(60.0) });
    world.alerts.acknowledge(id, "p1", Via::Console).await.unwrap();
    world.observe(&[co(2, "S1", START + MINUTE, 320.0)]).await;
    assert_eq!(incident(&world, id).await.state, IncidentState::Open);
}

#[tokio::test]
async fn clearing_needs_every_sensor_and_a_return_needs_a_new_answer() {
    let world = World::new().await;
    let at = |minute: i64| START + minute * MINUTE;
    world.observe(&[co(1, "S1", at(0), 412.0), co(2, "S2", at(0), 350.0)]).await;
    let id = world.the_incident().await;
    world.alerts.acknowledge(id, "p1", Via::Console).await.unwrap();
    world.observe(&[co(3, "S1", at(1), 10.0), co(4, "S1", at(2), 9.0), co(5, "S2", at(2), 20.0)]).await;
    assert_eq!(incident(&world, id).await.cleared, None, "one sensor has been calm only once");
    let fault = Reading {
        co_ppm: None,
        state: Some(SensorState::Fault),
        flags: Flags::CO_UNUSABLE,
        ..co(6, "S2", at(3), 0.0).reading
    };
    let mut broken = co(6, "S2", at(3), 0.0);
    broken.reading = fault;
    world.observe(&[broken, co(7, "S2", at(4), 10.0)]).await;
    assert_eq!(incident(&world, id).await.cleared, None, "no data is not normal");
    world.observe(&[co(8, "S2", at(5), 10.0)]).await;
    let cleared = incident(&world, id).await;
    assert_eq!((cleared.cleared, cleared.state), (Some(at(5)), IncidentState::Acknowledged));

    world.observe(&[co(9, "S2", at(6), 310.0)]).await;
    let returned = incident(&world, id).await;
    assert_eq!((returned.cleared, returned.state), (None, IncidentState::Open));
    assert_eq!(
        world.kinds(id).await.into_iter().filter(|kind| *kind != EventKind::StepTaken).collect::<Vec<_>>(),
        [EventKind::Opened, EventKind::Raised, EventKind::Acknowledged, EventKind::Cleared, EventKind::Returned]
    );
}

#[tokio::test]
async fn only_a_person_resolves_and_only_with_an_answer_and_words() {
    let world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let id = world.the_incident().await;
    assert!(matches!(world.alerts.resolve(id, "p1", &outcome()).await, Err(AlertError::NotNow(_))));
    world.alerts.acknowledge(id, "p1", Via::Console).await.unwrap();
    let silent = Outcome { cause: " ".to_owned(), ..outcome() };
    assert!(matches!(world.alerts.resolve(id, "p1", &silent).await, Err(AlertError::Invalid(_))));
    let resolved = world.alerts.resolve(id, "p1", &outcome()).await.unwrap();
    assert_eq!((resolved.state, resolved.outcome), (IncidentState::Resolved, Some(outcome())));
    assert!(world.alerts.open_incidents().await.unwrap().is_empty());
    assert_eq!(world.alerts.recent_resolved(9).await.unwrap().len(), 1);
    assert!(matches!(world.alerts.acknowledge(id, "p1", Via::Link).await, Err(AlertError::NotNow(_))));
    assert!(matches!(world.alerts.acknowledge(99, "p1", Via::Link).await, Err(AlertError::NoIncident(99))));

    // closing an incident does not close the danger
    world.observe(&[co(2, "S1", START + MINUTE, 412.0)]).await;
    assert_ne!(world.the_incident().await, id);
}

#[tokio::test]
async fn silence_fires_by_the_clock_alone() {
    let mut world = World::new().await;
    world.run();
    world.observe(&[co(1, "S1", START, 45.0)]).await;
    world.clock.advance(3 * MINUTE);
    assert_eq!(world.gateway.next_numbers(1).await, [OFFICER]);
    let incident = incident(&world, world.the_incident().await).await;
    assert_eq!(incident.decision, Decision::SilentAtRisk { last_ppm: 45.0, silent_ms: 3 * MINUTE });
    assert_eq!((incident.opened, incident.peak_ppm), (START + 3 * MINUTE, Some(45.0)));
    world.stop().await;
}

#[tokio::test]
async fn the_dose_fires_by_the_clock_alone() {
    let mut world = World::new().await;
    world.run();
    // 100 ppm alarms after 30 minutes
    let readings: Vec<_> = (0..30).map(|n| co(n + 1, "S1", START + n as i64 * MINUTE, 100.0)).collect();
    world.clock.set(START + 29 * MINUTE + 30 * SECOND);
    world.observe(&readings).await;
    assert!(world.alerts.open_incidents().await.unwrap().is_empty());
    world.clock.set(START + 30 * MINUTE + SECOND);
    assert_eq!(world.gateway.next_numbers(1).await, [OFFICER]);
    let incident = incident(&world, world.the_incident().await).await;
    assert_eq!(incident.decision, Decision::Dose { ppm: 100.0, profile: "en50291" });
    world.stop().await;
}

#[tokio::test]
async fn a_late_danger_is_an_incident_marked_late() {
    let world = World::new().await;
    let mut late = co(1, "S1", START, 412.0);
    late.received = START + 20 * MINUTE;
    late.reading.flags = Flags::LATE;
    world.observe(&[late]).await;
    let id = world.the_incident().await;
    let detail = world.detail(id).await;
    assert!(detail.incident.late);
    assert!(detail.notifications[0].text.contains("迟到数据"));
}

#[tokio::test]
async fn late_news_from_before_clearing_is_no_return() {
    let world = World::new().await;
    let at = |minute: i64| START + minute * MINUTE;
    world.observe(&[co(1, "S1", at(20), 412.0), co(2, "S1", at(21), 5.0), co(3, "S1", at(22), 5.0)]).await;
    let id = world.the_incident().await;
    world.alerts.acknowledge(id, "p1", Via::Console).await.unwrap();
    let mut late = co(4, "S1", at(5), 500.0);
    late.received = at(23);
    late.reading.flags = Flags::LATE;
    world.observe(&[late]).await;
    let incident = incident(&world, id).await;
    assert_eq!(incident.state, IncidentState::Acknowledged);
    assert_eq!((incident.cleared, incident.peak_ppm), (Some(at(22)), Some(412.0)));
    world.alerts.checkpoint(Position(4)).await.unwrap();
    let incident = world.detail(id).await.incident;
    assert_eq!((incident.peak_ppm, incident.last_ppm), (Some(500.0), Some(5.0)));
}

#[tokio::test]
async fn values_are_written_in_batches_and_told() {
    let mut world = World::new().await;
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let id = world.the_incident().await;
    world.observe(&[co(2, "S1", START, 512.0)]).await;
    world.observe(&[co(3, "S1", START, 480.0)]).await;
    world.clock.advance(SECOND);
    let detail = world.until(id, "the new peak", |detail| detail.incident.peak_ppm == Some(512.0)).await;
    assert_eq!(detail.incident.last_ppm, Some(480.0));
    world.stop().await;
}
