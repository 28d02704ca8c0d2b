//! From journal to meaning.
