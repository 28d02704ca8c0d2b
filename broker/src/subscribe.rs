//! SUBSCRIBE and UNSUBSCRIBE. A device's one channel is a note in its mailbox; an integration's
//! filters go to the router.

use model::rights::{Refusal, Role};
use model::topic::Topic;
use rumqttd::protocol::RetainForwardRule;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::directory::Delivery;
use crate::encode;
use crate::packet::{Asked, Subscribe, Unsubscribe, Version};
use crate::router::{Filter, SubscribeError};

/// Filters of one connection.
const MOST_FILTERS: usize = 64;

/// Reason codes; version 3.1.1 has only 0x80.
const NOT_AUTHORISED: u8 = 0x87;
const FILTER_INVALID: u8 = 0x8F;
const QUOTA_EXCEEDED: u8 = 0x97;
const SHARED_NOT_SUPPORTED: u8 = 0x9E;
const UNSPECIFIED: u8 = 0x80;
const NO_SUBSCRIPTION: u8 = 0x11;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) async fn subscribe(&mut self, subscribe: Subscribe) {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut retained = Vec::new();
        for asked in subscribe.filters {
            let granted = self.subscribe_to(&asked, &mut retained).await;
            codes.push(granted.unwrap_or_else(|code| {
                self.session.shared.tally.refused_filters.one();
                tracing::info!(id = %self.session.rights.id, filter = ?asked.filter, code, "SUBSCRIBE refused");
                if self.session.version == Version::V4 { UNSPECIFIED } else { code }
            }));
        }
        encode::suback(self.socket.out(), self.session.version, subscribe.id, &codes);
        for delivery in retained {
            self.outbound().push(delivery);
        }
    }

    /// The granted QoS, or a reason code.
    async fn subscribe_to(&mut self, asked: &Asked, retained: &mut Vec<Delivery>) -> Result<u8, u8> {
        let filter = &asked.filter;
        let qos = asked.qos.min(1);
        self.session.rights.subscribe(filter).map_err(|refusal| match refusal {
            Refusal::Grammar(_) => FILTER_INVALID,
            Refusal::NotAllowed { .. } => NOT_AUTHORISED,
            Refusal::SharedByDevice => SHARED_NOT_SUPPORTED,
        })?;
        if self.session.rights.role != Role::Integration {
            let topic = Topic::parse(filter).ok_or(NOT_AUTHORISED)?;
            self.session.mailbox.hear(Some((topic.channel, qos)));
            return Ok(qos);
        }
        let known = self.outbound().subscriptions.iter().position(|(other, _)| other == filter);
        if known.is_none() && self.outbound().subscriptions.len() >= MOST_FILTERS {
            return Err(QUOTA_EXCEEDED);
        }
        let deliveries = self.outbound().from_router();
        let router = self.session.shared.router.clone();
        let subscription = router.subscribe(filter, qos, deliveries).await.map_err(|error| match error {
            SubscribeError::Quota => QUOTA_EXCEEDED,
            SubscribeError::Router => UNSPECIFIED,
        })?;
        let subscriptions = &mut self.outbound().subscriptions;
        match known {
            Some(place) => subscriptions[place].1 = subscription,
            None => subscriptions.push((filter.clone(), subscription)),
        }
        let wants_retained = match asked.retained {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => known.is_none(),
            RetainForwardRule::Never => false,
        };
        if wants_retained && Filter::of(filter).group.is_none() {
            let kept = self.session.shared.retained.matching(filter);
            retained.extend(kept.into_iter().map(|(topic, payload)| Delivery { topic, payload, qos, retained: true }));
        }
        Ok(qos)
    }

    pub(crate) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let codes: Vec<u8> = unsubscribe
            .filters
            .iter()
            .map(|filter| if self.unsubscribe_from(filter) { 0 } else { NO_SUBSCRIPTION })
            .collect();
        encode::unsuback(self.socket.out(), self.session.version, unsubscribe.id, &codes);
    }

    /// False when there was no such subscription.
    fn unsubscribe_from(&mut self, filter: &str) -> bool {
        if self.session.rights.role != Role::Integration {
            return self.session.rights.subscribe(filter).is_ok() && self.session.mailbox.hear(None);
        }
        let subscriptions = &mut self.outbound().subscriptions;
        match subscriptions.iter().position(|(other, _)| other == filter) {
            Some(place) => {
                subscriptions.remove(place);
                true
            }
            None => false,
        }
    }
}
