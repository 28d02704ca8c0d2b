//! Notifications as rows.

use model::Stamp;

/// The means a notification goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Sms,
    Email,
}

/// How far a notification has come. "Queued" is not "sent", "sent" is not "delivered".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Waiting for its first or next attempt.
    Waiting,
    /// The provider has queued it and may be sending it late (Kannel "3: Queued for later delivery").
    Queued,
    /// The provider has taken it.
    Sent,
    /// A receipt says the handset has it.
    Delivered,
    /// Given up, or refused for good.
    Failed,
    /// Not needed any more: somebody answered before it went out.
    Cancelled,
}

/// One message to one person by one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub id: i64,
    pub incident: i64,
    /// Step of the escalation plan.
    pub step: i64,
    pub person: String,
    pub name: String,
    pub channel: Channel,
    /// Phone number or mail address.
    pub address: String,
    pub text: String,
    pub delivery: Delivery,
    pub attempts: i64,
    pub decided: Stamp,
    pub sent: Option<Stamp>,
    pub delivered: Option<Stamp>,
    /// The provider's or network's last words, without secrets.
    pub error: Option<String>,
}

impl Channel {
    pub(crate) const ALL: [Channel; 2] = [Channel::Sms, Channel::Email];

    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Sms => "sms",
            Channel::Email => "email",
        }
    }

    pub fn parse(text: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == text)
    }
}

impl Delivery {
    const ALL: [Delivery; 6] = [
        Delivery::Waiting,
        Delivery::Queued,
        Delivery::Sent,
        Delivery::Delivered,
        Delivery::Failed,
        Delivery::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::Waiting => "waiting",
            Delivery::Queued => "queued",
            Delivery::Sent => "sent",
            Delivery::Delivered => "delivered",
            Delivery::Failed => "failed",
            Delivery::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Delivery> {
        Delivery::ALL.into_iter().find(|delivery| delivery.as_str() == text)
    }
}
