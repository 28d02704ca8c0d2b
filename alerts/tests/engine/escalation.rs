use alerts::incident::{IncidentState, Via};
use alerts::outbox::{Channel, Delivery};
use alerts::plan::{Post, Step, put_plan};
use alerts::query::EventKind;
use model::Level;
use model::time::{HOUR, MINUTE, SECOND};
use registry::people::StaffRole;

use crate::world::{DEPUTY, OFFICER, START, SUPERVISOR, Sms, World, co};

/// The notification's id that a message carries in its report address.
fn id_of(sms: &Sms) -> i64 {
    let url = &sms["dlr-url"];
    let id = url.split_once("?id=").and_then(|(_, rest)| rest.strip_suffix("&type=%d"));
    id.unwrap_or_else(|| panic!("{url}")).parse().unwrap()
}

fn token_of(sms: &Sms) -> String {
    sms["text"].rsplit_once("http://10.0.0.5:8080/a/").unwrap().1.to_owned()
}

#[tokio::test]
async fn steps_are_taken_at_their_times_until_somebody_answers() {
    let mut world = World::new().await;
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;

    let sms = world.gateway.next().await;
    assert_eq!(sms["to"], OFFICER);
    assert_eq!((sms["username"].as_str(), sms["from"].as_str(), sms["coding"].as_str()), ("gas", "10690000", "2"));
    assert!(
        sms["text"].starts_with("【燃气安全】危险：一氧化碳412ppm，02:14，石井街石沙路18号402室 浴室。"),
        "{}",
        sms["text"]
    );
    let first = world.until_all_sent(incident, 1).await;
    assert_eq!(first.notifications[0].delivery, Delivery::Sent);
    assert_eq!(first.notifications[0].id, id_of(&sms));
    assert!(!first.notifications[0].text.contains(&token_of(&sms)), "screens never show a link");
    assert_eq!(first.next_step, Some(START + 60 * SECOND));

    world.clock.advance(60 * SECOND - 1);
    world.clock.advance(1);
    assert_eq!(world.gateway.next_numbers(2).await, [DEPUTY, SUPERVISOR]);
    let second = world.until_all_sent(incident, 3).await;
    assert!(second.notifications[1..].iter().all(|n| n.step == 1 && n.decided == START + 60 * SECOND));

    // then everyone, every two minutes
    for repeat in 1..=2 {
        let due = START + 60 * SECOND + repeat * 120 * SECOND;
        world.clock.set(due - 1);
        world.clock.set(due);
        assert_eq!(world.gateway.next_numbers(3).await, [OFFICER, DEPUTY, SUPERVISOR]);
        let detail = world.until_all_sent(incident, 3 + 3 * repeat as usize).await;
        assert!(detail.notifications.iter().rev().take(3).all(|n| n.decided == due && n.step == 1 + repeat));
        assert_eq!(detail.next_step, Some(due + 120 * SECOND));
    }

    // the officer follows the link
    let link = world.alerts.read_link(&token_of(&sms)).unwrap();
    assert_eq!((link.incident, link.person.as_str()), (incident, "p1"));
    let answered = world.alerts.acknowledge(link.incident, &link.person, Via::Link).await.unwrap();
    assert_eq!(answered.acknowledged.as_ref().unwrap().name, "陈一");
    let again = world.alerts.acknowledge(incident, "p2", Via::Console).await.unwrap();
    assert_eq!(again, answered, "the first answer stays");

    // another home's steps show that time has passed, and that the first home's had none
    world.observe(&[co(2, "S3", world.clock.now(), 350.0)]).await;
    assert_eq!(world.gateway.next_numbers(1).await, [OFFICER]);
    let other = world.alerts.open_incidents().await.unwrap()[0].id;
    world.until_all_sent(other, 1).await;
    world.clock.advance(10 * MINUTE);
    world.gateway.next_numbers(2).await;
    world.until_all_sent(other, 3).await;
    let detail = world.detail(incident).await;
    assert_eq!((detail.notifications.len(), detail.next_step), (9, None));
    assert_eq!(detail.events.iter().filter(|event| event.kind == EventKind::Acknowledged).count(), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_answer_cancels_what_was_not_sent_yet() {
    let world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    world.alerts.acknowledge(incident, "p1", Via::Console).await.unwrap();
    let detail = world.detail(incident).await;
    assert_eq!(detail.notifications[0].delivery, Delivery::Cancelled);
    assert!(detail.notifications[0].error.is_some());
}

#[tokio::test]
async fn a_gateway_that_comes_back_gets_the_message() {
    let mut world = World::new().await;
    world.gateway.answer(OFFICER, 503, "Temporal failure, try again later.");
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    for (attempts, pause) in [(1, SECOND), (2, 2 * SECOND), (3, 5 * SECOND)] {
        world.gateway.next().await;
        let detail = world.until(incident, "a failed attempt", |d| d.notifications[0].attempts == attempts).await;
        assert_eq!(detail.notifications[0].delivery, Delivery::Waiting);
        assert!(detail.notifications[0].error.as_ref().unwrap().contains("Temporal failure"));
        if attempts == 3 {
            world.gateway.accept(OFFICER);
        }
        world.clock.advance(pause);
    }
    world.gateway.next().await;
    let detail = world.until_all_sent(incident, 1).await;
    assert_eq!((detail.notifications[0].delivery, detail.notifications[0].attempts), (Delivery::Sent, 4));
    assert_eq!(detail.notifications[0].error, None);
    world.stop().await;
}

#[tokio::test]
async fn queued_is_not_sent_and_receipts_only_go_forward() {
    let mut world = World::new().await;
    world.gateway.answer(OFFICER, 202, "3: Queued for later delivery");
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    let id = id_of(&world.gateway.next().await);
    let detail = world.until_all_sent(incident, 1).await;
    assert_eq!((detail.notifications[0].delivery, detail.notifications[0].sent), (Delivery::Queued, None));
    for (report, then) in [
        (Delivery::Sent, Delivery::Sent),
        (Delivery::Queued, Delivery::Sent),
        (Delivery::Delivered, Delivery::Delivered),
        (Delivery::Failed, Delivery::Delivered),
        (Delivery::Sent, Delivery::Delivered),
    ] {
        world.alerts.report(id, report).await.unwrap();
        assert_eq!(world.detail(incident).await.notifications[0].delivery, then, "after {report:?}");
    }
    assert_eq!(world.detail(incident).await.notifications[0].delivered, Some(START));
    world.alerts.report(999, Delivery::Delivered).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_takes_the_next_step_at_once() {
    let mut world = World::new().await;
    world.gateway.answer(OFFICER, 403, "Authorization failed for sendsms");
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    assert_eq!(world.gateway.next_numbers(3).await, [OFFICER, DEPUTY, SUPERVISOR]);
    let detail = world.until_all_sent(incident, 3).await;
    assert_eq!(detail.notifications[0].delivery, Delivery::Failed);
    assert_eq!(detail.notifications[0].error.as_deref(), Some("403 Authorization failed for sendsms"));
    assert!(detail.notifications.iter().all(|n| n.decided == START));
    world.stop().await;
}

#[tokio::test]
async fn a_receipt_of_failure_takes_the_next_step_at_once() {
    let mut world = World::new().await;
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    let id = id_of(&world.gateway.next().await);
    world.until_all_sent(incident, 1).await;
    world.alerts.report(id, Delivery::Failed).await.unwrap();
    assert_eq!(world.gateway.next_numbers(2).await, [DEPUTY, SUPERVISOR]);
    world.stop().await;
}

#[tokio::test]
async fn when_all_are_refused_everybody_is_tried_and_nothing_spins() {
    let mut world = World::new().await;
    for number in [OFFICER, DEPUTY, SUPERVISOR] {
        world.gateway.answer(number, 400, "Invalid destination");
    }
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    // step 0, step 1 and one round of everyone, all at once; then the usual pause
    world.gateway.next_numbers(6).await;
    let detail = world.until_all_sent(incident, 6).await;
    assert_eq!(detail.next_step, Some(START + 120 * SECOND));
    world.gateway.accept(SUPERVISOR);
    world.clock.advance(120 * SECOND);
    world.gateway.next_numbers(3).await;
    let detail = world.until_all_sent(incident, 9).await;
    assert_eq!(detail.notifications.iter().filter(|n| n.delivery == Delivery::Sent).count(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_post_without_anybody_is_passed_over_at_once() {
    let mut world = World::new().await;
    world.sql("DELETE FROM shifts WHERE post = 'duty_officer'").await;
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    assert_eq!(world.gateway.next_numbers(2).await, [DEPUTY, SUPERVISOR]);
    assert_eq!(world.kinds(incident).await, [EventKind::Opened, EventKind::NobodyToTell, EventKind::StepTaken]);
    world.stop().await;
}

#[tokio::test]
async fn an_empty_roster_means_everybody_with_an_account() {
    let mut world = World::new().await;
    world.sql("DELETE FROM shifts").await;
    let account =
        registry::people::Account { login: "wang".to_owned(), person: "p3".to_owned(), role: StaffRole::Administrator };
    world.registry.put_account(&account, "a long password").await.unwrap();
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    assert_eq!(world.gateway.next_numbers(1).await, [SUPERVISOR]);
    let incident = world.the_incident().await;
    let detail = world.until_all_sent(incident, 1).await;
    assert!(detail.events.iter().any(|event| event.kind == EventKind::NobodyToTell));
    assert_eq!(detail.next_step, Some(START + 120 * SECOND), "and again until somebody answers");
    world.stop().await;
}

#[tokio::test]
async fn steps_that_came_due_during_an_outage_are_taken_once_and_say_so() {
    let mut world = World::new().await;
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    world.clock.advance(HOUR / 2);
    world.crash().await;
    world.run();
    assert_eq!(world.gateway.next_numbers(3).await, [OFFICER, DEPUTY, SUPERVISOR]);
    let detail = world.until_all_sent(incident, 3).await;
    assert!(detail.notifications[1].text.contains("delayed notice"), "{}", detail.notifications[1].text);
    assert!(detail.notifications[2].text.contains("延迟通知"));
    assert_eq!(detail.next_step, Some(START + HOUR / 2 + 120 * SECOND));
    world.stop().await;
}

#[tokio::test]
async fn a_plan_of_the_district_replaces_the_default() {
    let mut world = World::new().await;
    let step =
        |number, after_ms, posts: &[Post]| Step { level: Level::Danger, number, after_ms, posts: posts.to_vec() };
    let plan = [step(0, 0, &[Post::DutyOfficer, Post::Supervisor]), step(1, 30 * SECOND, &[Post::Deputy])];
    let mut tx = world.registry.ledger().begin().await.unwrap();
    assert!(put_plan(&mut tx, &[step(0, 5, &[Post::Deputy])]).await.is_err());
    put_plan(&mut tx, &plan).await.unwrap();
    tx.commit().await.unwrap();
    let stored = world.alerts.plan().await.unwrap();
    assert_eq!(stored[..2], plan);
    assert!(stored[2..].iter().all(|step| step.level == Level::Urgent));
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    assert_eq!(world.gateway.next_numbers(2).await, [OFFICER, SUPERVISOR]);
    world.clock.advance(30 * SECOND);
    assert_eq!(world.gateway.next_numbers(1).await, [DEPUTY]);
    world.stop().await;
}

#[tokio::test]
async fn what_hangs_is_given_up_after_an_hour() {
    let mut world = World::new().await;
    world.gateway.answer(OFFICER, 503, "down");
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    world.gateway.next().await;
    world.until(incident, "the first attempt", |d| d.notifications[0].attempts == 1).await;
    world.clock.advance(HOUR);
    let detail = world
        .until(incident, "the end", |d| d.notifications.iter().any(|n| n.step == 0 && n.delivery == Delivery::Failed))
        .await;
    assert_eq!(detail.notifications[0].channel, Channel::Sms);
    assert_eq!(detail.incident.state, IncidentState::Open);
    world.stop().await;
}
