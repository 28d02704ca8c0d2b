use std::collections::{HashMap, HashSet};

use model::decode;

use super::*;
use crate::testing::{Acceptor, Manners, signed_in_as};

const NOW: Stamp = Stamp(1_795_485_600_000);

/// So many messages, and no more time than a hung test may take.
fn options(address: SocketAddr, messages: u64) -> LoadOptions {
    LoadOptions {
        connections: 3,
        window: 20,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(600),
        messages: Some(messages),
        ..LoadOptions::new(address, NOW)
    }
}

#[tokio::test]
async fn every_message_is_acknowledged_once_and_is_a_new_reading() {
    let mut acceptor = Acceptor::start(Manners::default()).await;
    let report = run(options(acceptor.address, 1_000)).await.unwrap();
    assert_eq!((report.sent, report.acknowledged, report.measured, report.errors), (1_000, 1_000, 1_000, 0));
    assert_eq!(report.first_error, None);
    assert!(report.seconds > 0.0 && report.seconds < 600.0);
    assert!((report.per_second * report.seconds - 1_000.0).abs() < 1e-6);
    assert!(report.latency.p50 <= report.latency.p99 && report.latency.p99 <= report.latency.max);
    assert!(report.latency.max > 0);

    let mut seen = HashSet::new();
    let mut next = HashMap::new();
    for _ in 0..1_000 {
        let message = acceptor.published.recv().await.unwrap();
        assert_eq!(message.qos, 1);
        let decoded = decode::readings(&message.payload, NOW);
        let seq = decoded.readings[0].seq.unwrap();
        assert!(decoded.readings[0].time >= NOW);
        let expected = next.entry(message.topic.clone()).or_insert(FIRST_SEQ);
        assert_eq!(seq, *expected);
        *expected += 1;
        assert!(seen.insert((message.topic, seq)));
    }
    assert!(next.keys().all(|topic| topic.starts_with("gas/v1/sensors/load-0000")));
}

#[tokio::test]
async fn at_qos_0_all_that_was_written_has_been_read() {
    let mut acceptor = Acceptor::start(Manners::default()).await;
    let report = run(LoadOptions { qos: Qos::AtMostOnce, ..options(acceptor.address, 5_000) }).await.unwrap();
    assert_eq!((report.acknowledged, report.errors), (5_000, 0));
    for _ in 0..5_000 {
        assert_eq!(acceptor.published.try_recv().unwrap().qos, 0);
    }
}

#[tokio::test]
async fn connections_sign_in_and_a_refusal_is_told() {
    let passwords = (0..3).map(|index| (format!("user-S{index}"), format!("pw-S{index}"))).collect();
    let acceptor = Acceptor::start(Manners { passwords, ..Manners::default() }).await;
    let mut wanted = LoadOptions {
        ids: Arc::new(|index| format!("S{index}")),
        credentials: Some(Arc::new(|id| (format!("user-{id}"), format!("pw-{id}")))),
        ..options(acceptor.address, 30)
    };
    assert_eq!(run(wanted.clone()).await.unwrap().acknowledged, 30);
    let mut names: Vec<_> = acceptor.connects.lock().unwrap().iter().map(|body| signed_in_as(body)).collect();
    names.sort();
    assert_eq!(names[1], ("S1".into(), "user-S1".into(), "pw-S1".into()));

    wanted.connections = 4;
    let refused = run(wanted).await.unwrap_err();
    assert_eq!(refused.to_string(), "connection S3: refused with code 5");
}

#[tokio::test]
async fn a_broken_connection_is_an_error_and_the_others_go_on() {
    let acceptor = Acceptor::start(Manners { hang_ups: 1, ..Manners::default() }).await;
    let report = run(options(acceptor.address, 300)).await.unwrap();
    assert_eq!(report.errors, 1);
    assert!(report.first_error.is_some());
    assert!(report.acknowledged >= 200 && report.acknowledged < report.sent, "{report:?}");
}

#[tokio::test]
async fn a_broker_that_never_acknowledges_does_not_hang_the_run() {
    let acceptor = Acceptor::start(Manners { is_mute: true, ..Manners::default() }).await;
    let wanted = LoadOptions {
        duration: Duration::from_secs(2),
        patience: Duration::ZERO,
        messages: None,
        ..options(acceptor.address, 0)
    };
    let report = run(wanted).await.unwrap();
    assert_eq!((report.sent, report.acknowledged, report.errors), (60, 0, 3));
    assert_eq!(report.first_error.as_deref(), Some("3 connections were not answered in time"));
}

#[tokio::test]
async fn useless_options_are_refused() {
    let address = "127.0.0.1:1".parse().unwrap();
    assert!(matches!(run(LoadOptions { window: 0, ..options(address, 1) }).await, Err(LoadError::Options(_))));
    assert!(matches!(run(LoadOptions { connections: 0, ..options(address, 1) }).await, Err(LoadError::Options(_))));
}

#[tokio::test]
async fn a_subscriber_counts_and_acknowledges_what_is_delivered() {
    let mut acceptor = Acceptor::start(Manners::default()).await;
    let wanted = DeliveryOptions {
        address: acceptor.address,
        client_id: "counter".into(),
        credentials: None,
        filter: "gas/v1/sensors/+/readings".into(),
        qos: Qos::AtLeastOnce,
    };
    let mut deliveries = count_deliveries(wanted).await.unwrap();
    acceptor.relay("gas/v1/sensors/S1/readings", b"12345", 500);
    assert!(deliveries.reach(500).await);
    let report = deliveries.finish().await;
    assert_eq!((report.delivered, report.payload_bytes, report.error), (500, 2_500, None));
    acceptor.goodbyes(1).await;
    assert_eq!(acceptor.subscriber_acks.load(Ordering::SeqCst), 500);
}

#[test]
fn measured_time_ends_with_the_last_message_when_the_run_is_cut_short() {
    let mut wanted = options("127.0.0.1:1".parse().unwrap(), 10);
    wanted.warm_up = Duration::from_secs(1);
    let run = Run::new(&wanted);
    assert_eq!(run.grant(7, 0), 7);
    assert_eq!(run.grant(7, 0), 3);
    assert_eq!(run.grant(7, 0), 0);
    run.shard(0).count(4, 500_000, run.is_measured(500_000));
    run.shard(1).count(6, 3_000_000, run.is_measured(3_000_000));
    let report = run.report(0.0, Failures::default());
    assert_eq!((report.acknowledged, report.measured), (10, 6));
    assert!((report.seconds - 2.0).abs() < 1e-9 && (report.per_second - 3.0).abs() < 1e-9);
}

#[test]
fn nothing_is_granted_after_the_end() {
    let wanted = LoadOptions { messages: None, ..options("127.0.0.1:1".parse().unwrap(), 0) };
    let run = Run::new(&wanted);
    assert_eq!(run.grant(9, 599_999_999), 9);
    assert_eq!(run.grant(9, 600_000_000), 0);
}

#[test]
fn both_histograms_can_be_made() {
    assert_eq!(histogram().sigfig(), 3);
    assert_eq!(coarse().sigfig(), 1);
}
