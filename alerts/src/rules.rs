//! Pure decisions about one sensor's readings.
