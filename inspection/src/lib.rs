//! The four-month inspection cycle.
