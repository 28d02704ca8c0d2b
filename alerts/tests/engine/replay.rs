use std::task::Poll;

use alerts::Observation;
use alerts::incident::{Incident, Via};
use alerts::outbox::Delivery;
use alerts::query::{Event, EventKind};
use model::SensorState;
use model::reading::Flags;
use model::time::{MINUTE, SECOND};
use proptest::prelude::*;
use store::Position;

use crate::world::{OFFICER, START, World, co};

#[tokio::test]
async fn the_same_observations_change_nothing() {
    let mut world = World::new().await;
    let readings = [co(1, "S1", START, 412.0), co(2, "S2", START, 420.0), co(3, "S1", START + MINUTE, 430.0)];
    world.observe(&readings).await;
    let before = world.detail(world.the_incident().await).await;
    assert_eq!(world.alerts.applied(), Position(3));
    world.observe(&readings).await;
    world.crash().await;
    assert_eq!(world.alerts.applied(), Position(3));
    world.observe(&readings).await;
    assert_eq!(world.detail(world.the_incident().await).await, before);
}

#[tokio::test]
async fn a_crash_between_decision_and_sending_sends_once() {
    let mut world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    world.crash().await;
    world.run();
    assert_eq!(world.gateway.next_numbers(1).await, [OFFICER]);
    let incident = world.the_incident().await;
    let detail = world.until_all_sent(incident, 1).await;
    assert_eq!(detail.notifications[0].attempts, 1);
    world.stop().await;
    assert!(world.gateway.is_quiet().await);
}

#[tokio::test]
async fn a_crash_during_sending_repeats_once() {
    let mut world = World::new().await;
    world.gateway.hang();
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let first = world.gateway.next().await;
    world.crash().await;
    world.gateway.answer_again();
    world.run();
    let second = world.gateway.next().await;
    assert_eq!(first, second, "the same message, link and id included");
    let incident = world.the_incident().await;
    world.until_all_sent(incident, 1).await;
    world.stop().await;
    world.crash().await;
    world.run();
    world.stop().await;
    assert!(world.gateway.is_quiet().await);
}

#[tokio::test]
async fn a_failed_commit_can_be_tried_again() {
    let world = World::new().await;
    let readings = [co(1, "S1", START, 100.0), co(2, "S1", START + MINUTE, 412.0), co(3, "S2", START + MINUTE, 350.0)];
    world.sql("ALTER TABLE outbox RENAME TO hidden").await;
    for _ in 0..2 {
        assert!(world.alerts.observe(&readings).await.is_err());
        assert_eq!(world.alerts.applied(), Position(0));
    }
    world.sql("ALTER TABLE hidden RENAME TO outbox").await;
    world.observe(&readings).await;
    let detail = world.detail(world.the_incident().await).await;
    assert_eq!((detail.incident.id, detail.events.len(), detail.notifications.len()), (1, 3, 1));
    assert_eq!(world.alerts.applied(), Position(3));
}

#[tokio::test]
async fn a_failed_answer_leaves_escalation_running() {
    let world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    world.sql("ALTER TABLE incident_events RENAME TO hidden").await;
    assert!(world.alerts.acknowledge(incident, "p1", Via::Console).await.is_err());
    world.sql("ALTER TABLE hidden RENAME TO incident_events").await;
    assert_eq!(world.detail(incident).await.next_step, Some(START + 60 * SECOND));
    world.alerts.acknowledge(incident, "p1", Via::Console).await.unwrap();
    assert_eq!(world.detail(incident).await.notifications[0].delivery, Delivery::Cancelled);
}

#[tokio::test]
async fn an_observation_given_up_anywhere_counts_once() {
    let mut was_given_up = true;
    let mut polls = 0;
    while was_given_up {
        let world = World::new().await;
        let readings = [co(1, "S1", START, 412.0)];
        {
            let mut observing = std::pin::pin!(world.alerts.observe(&readings));
            let mut left = polls;
            was_given_up = std::future::poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(true);
                }
                left -= 1;
                observing.as_mut().poll(context).map(|outcome| outcome.is_err())
            })
            .await;
        }
        world.observe(&readings).await;
        let detail = world.detail(world.the_incident().await).await;
        let counts = (detail.incident.id, detail.events.len(), detail.notifications.len());
        assert_eq!(counts, (1, 2, 1), "given up after {polls} polls");
        polls += 1;
    }
    assert!(polls > 5, "the ledger was waited for");
}

fn any_observations() -> impl Strategy<Value = Vec<Observation>> {
    let value = prop_oneof![3 => 0.0f32..30.0, 3 => 30.0f32..300.0, 1 => 300.0f32..600.0];
    let state = prop::sample::select(vec![
        SensorState::Normal,
        SensorState::Normal,
        SensorState::Normal,
        SensorState::Alarm,
        SensorState::Warmup,
        SensorState::Fault,
    ]);
    let one = (0usize..3, value, state, 1i64..6 * MINUTE, any::<bool>());
    prop::collection::vec(one, 1..30).prop_map(|steps| {
        let mut now = START;
        steps
            .into_iter()
            .enumerate()
            .map(|(index, (sensor, ppm, state, pause, is_late))| {
                now = now + pause;
                let mut observation = co(index as u64 + 1, ["S1", "S2", "S3"][sensor], now, ppm);
                observation.reading.state = Some(state);
                if is_late && index % 7 == 0 {
                    observation.reading.time = now - 15 * MINUTE;
                    observation.reading.flags = Flags::LATE;
                }
                observation
            })
            .collect()
    })
}

/// What was decided, and who is told. When a batch holds several decisions, the message tells the
/// newest, so texts depend on where batches end.
async fn decided(world: &World) -> Vec<(Incident, Vec<Event>, Vec<(i64, String)>)> {
    let mut all = Vec::new();
    for incident in world.alerts.open_incidents().await.unwrap() {
        let mut detail = world.detail(incident.id).await;
        detail.events.retain(|event| event.kind != EventKind::StepTaken);
        let told = detail.notifications.into_iter().map(|n| (n.step, n.person)).collect();
        all.push((detail.incident, detail.events, told));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Killed anywhere and replayed from `applied`, the engine decides what it would have decided.
    #[test]
    fn crashes_do_not_change_what_is_decided(
        observations in any_observations(),
        cuts in prop::collection::vec((1usize..6, any::<bool>(), any::<bool>()), 30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let whole = World::new().await;
            for observation in &observations {
                whole.observe(std::slice::from_ref(observation)).await;
            }
            whole.alerts.checkpoint(Position(observations.len() as u64)).await.unwrap();

            let mut broken = World::new().await;
            let mut next = 0;
            for (length, is_checkpoint, is_crash) in cuts {
                let end = (next + length).min(observations.len());
                broken.observe(&observations[next..end]).await;
                next = end;
                if is_checkpoint {
                    broken.alerts.checkpoint(Position(next as u64)).await.unwrap();
                }
                if is_crash {
                    broken.crash().await;
                    next = broken.alerts.applied().0 as usize;
                }
            }
            broken.observe(&observations[next..]).await;
            broken.alerts.checkpoint(Position(observations.len() as u64)).await.unwrap();
            assert_eq!(decided(&whole).await, decided(&broken).await);
        });
    }
}
