use std::time::Duration;

use rumqttd::protocol::Publish;
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(60);

async fn router() -> Arc<LiveRouter> {
    LiveRouter::start(Arc::default(), Duration::from_secs(2)).await.unwrap()
}

fn copy(topic: &str, number: usize) -> LiveCopy {
    LiveCopy { topic: Bytes::copy_from_slice(topic.as_bytes()), payload: number.to_string().into(), qos: 1 }
}

/// The defect of rumqttd that all checks of topic names stand before.
#[tokio::test]
async fn a_dead_router_is_noticed() {
    let router = router().await;
    let (deliveries, _messages) = mpsc::channel(10);
    let _subscription = router.subscribe("a/#", 1, deliveries).await.unwrap();
    let (mut tx, _rx) = link(&router.connect, "killer".to_owned()).await.unwrap();
    tx.send(Packet::Publish(Publish::new("é", "x", false), None)).await.unwrap();
    assert_eq!(timeout(LONG, router.failed()).await.unwrap(), "the router is gone");
}

#[tokio::test]
async fn stopping_is_not_failing() {
    let router = router().await;
    router.stop();
    assert!(timeout(Duration::ZERO, router.failed()).await.is_err());
}

/// More than the link's buffer of 200 and the channel together: the router pauses and goes on.
#[tokio::test]
async fn a_burst_beyond_all_buffers_arrives_in_order() {
    const COUNT: usize = 5_000;
    let router = router().await;
    let (deliveries, mut messages) = mpsc::channel(10);
    let _subscription = router.subscribe("a/+", 0, deliveries).await.unwrap();
    for start in (0..COUNT).step_by(500) {
        router.publish((start..start + 500).map(|number| copy("a/b", number)).collect());
    }
    for number in 0..COUNT {
        let got = timeout(LONG, messages.recv()).await.unwrap().unwrap();
        assert_eq!((&got.payload[..], got.qos), (number.to_string().as_bytes(), 0));
    }
    assert_eq!(router.tally.live_copies_dropped.get(), 0);
}

#[tokio::test]
async fn copies_are_made_only_while_somebody_listens() {
    let router = router().await;
    assert!(!router.has_listeners());
    router.publish(vec![copy("a", 1)]);
    let (deliveries, mut messages) = mpsc::channel(10);
    let subscription = router.subscribe("a", 1, deliveries.clone()).await.unwrap();
    router.publish(vec![copy("a", 2), copy("b", 3)]);
    assert_eq!(timeout(LONG, messages.recv()).await.unwrap().unwrap().payload, "2");
    drop(subscription);
    while router.has_listeners() {
        tokio::task::yield_now().await;
    }
    router.publish(vec![copy("a", 4)]);
    let _subscription = router.subscribe("a", 1, deliveries).await.unwrap();
    router.publish(vec![copy("a", 5)]);
    assert_eq!(timeout(LONG, messages.recv()).await.unwrap().unwrap().payload, "5");
}

#[tokio::test]
async fn two_groups_of_one_name_on_different_filters_are_two() {
    let router = router().await;
    let (one, mut ones) = mpsc::channel(10);
    let (two, mut twos) = mpsc::channel(10);
    let _first = router.subscribe("$share/g/a/+", 1, one).await.unwrap();
    let _second = router.subscribe("$share/g/b/+", 1, two).await.unwrap();
    router.publish(vec![copy("b/x", 1), copy("a/x", 2), copy("b/x", 3)]);
    assert_eq!(timeout(LONG, ones.recv()).await.unwrap().unwrap().payload, "2");
    assert_eq!(timeout(LONG, twos.recv()).await.unwrap().unwrap().payload, "1");
    assert_eq!(timeout(LONG, twos.recv()).await.unwrap().unwrap().payload, "3");
}

#[tokio::test]
async fn a_member_that_does_not_keep_up_does_not_hold_up_its_share() {
    let router = router().await;
    let (slow, _unread) = mpsc::channel(1);
    let (quick, mut messages) = mpsc::channel(100);
    let _slow = router.subscribe("$share/g/a", 1, slow).await.unwrap();
    let _quick = router.subscribe("$share/g/a", 1, quick).await.unwrap();
    router.publish((0..20).map(|number| copy("a", number)).collect());
    for number in 1..20 {
        assert_eq!(timeout(LONG, messages.recv()).await.unwrap().unwrap().payload, number.to_string());
    }
}

#[tokio::test]
async fn the_number_of_filters_is_limited() {
    let router = router().await;
    let (deliveries, _messages) = mpsc::channel(1);
    for number in 0..MOST_FILTERS {
        let subscription = router.subscribe(&format!("a/{number}"), 0, deliveries.clone()).await.unwrap();
        drop(subscription);
    }
    assert!(matches!(router.subscribe("b", 0, deliveries.clone()).await, Err(SubscribeError::Quota)));
    assert!(router.subscribe("a/0", 0, deliveries.clone()).await.is_ok(), "one it knows");
    assert!(matches!(router.subscribe("$SYS/#", 0, deliveries).await, Err(SubscribeError::Quota)));
}

#[test]
fn link_numbers_are_used_again() {
    let numbers = LinkNumbers::default();
    assert_eq!((numbers.take(), numbers.take(), numbers.take()), (0, 1, 2));
    numbers.give_back(1);
    assert_eq!((numbers.take(), numbers.take()), (1, 3));
}
