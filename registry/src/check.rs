//! What the registry accepts as an id, a phone number, an address and so on. Names, phones and
//! e-mail addresses end up in message headers, so no control character passes anywhere.

use crate::RegistryError;

/// Longest free text, characters.
const LONGEST_TEXT: usize = 300;

fn invalid(what: &str, value: &str, problem: &str) -> RegistryError {
    RegistryError::Invalid(format!("{what} {value:?} {problem}"))
}

/// `[A-Za-z0-9_-]{1,64}`, as for devices.
pub(crate) fn id(what: &str, value: &str) -> Result<(), RegistryError> {
    match model::DeviceId::new(value) {
        Ok(_) => Ok(()),
        Err(problem) => Err(invalid(what, &shorten(value), &format!("is no id: {problem}"))),
    }
}

/// `[A-Za-z0-9._@-]{1,64}`.
pub(crate) fn login(value: &str) -> Result<(), RegistryError> {
    let is_login = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-');
    if value.is_empty() || value.len() > 64 || !value.chars().all(is_login) {
        return Err(invalid("login", &shorten(value), "must be 1 to 64 of A-Z a-z 0-9 . _ @ -"));
    }
    Ok(())
}

/// A text without control characters; it may be empty.
pub(crate) fn text(what: &str, value: &str) -> Result<(), RegistryError> {
    if value.chars().any(char::is_control) {
        return Err(invalid(what, &shorten(value), "has a line break or another control character"));
    }
    if value.chars().count() > LONGEST_TEXT {
        return Err(invalid(what, &shorten(value), &format!("has more than {LONGEST_TEXT} characters")));
    }
    Ok(())
}

/// A text that says something.
pub(crate) fn name(what: &str, value: &str) -> Result<(), RegistryError> {
    if value.trim().is_empty() {
        return Err(invalid(what, value, "is empty"));
    }
    text(what, value)
}

/// Empty, or 3 to 20 digits after an optional `+`.
pub(crate) fn phone(what: &str, value: &str) -> Result<(), RegistryError> {
    let digits = value.strip_prefix('+').unwrap_or(value);
    if value.is_empty() || ((3..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(());
    }
    Err(invalid(what, &shorten(value), "must be 3 to 20 digits, with an optional + in front"))
}

/// Empty, or a bare address with exactly one `@`: nothing that could add a header or a recipient.
pub(crate) fn email(what: &str, value: &str) -> Result<(), RegistryError> {
    if value.is_empty() {
        return Ok(());
    }
    let problem = match value.split_once('@') {
        None => "has no @",
        Some((_, domain)) if domain.contains('@') => "has more than one @",
        Some(("", _) | (_, "")) => "has nothing before or after its @",
        Some(_) if value.len() > 254 => "has more than 254 bytes",
        Some(_) if value.chars().any(|c| c.is_control() || c.is_whitespace()) => "has a space or control character",
        Some(_) if value.contains(['<', '>', ',', ';', ':', '"', '(', ')', '[', ']', '\\']) => {
            "has one of < > , ; : \" ( ) [ ] \\"
        }
        Some(_) => return Ok(()),
    };
    Err(invalid(what, &shorten(value), problem))
}

/// Enough of a wrong value to recognise it in an error.
fn shorten(value: &str) -> String {
    value.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(result: Result<(), RegistryError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn ids_and_logins() {
        assert!(id("premises", "BY-0001_a").is_ok());
        assert!(problem(id("premises", "a b")).starts_with("premises \"a b\" is no id"));
        assert!(id("premises", "").is_err());
        assert!(id("premises", &"a".repeat(65)).is_err());
        assert!(login("li.ming@baiyun").is_ok());
        for wrong in ["", "a b", "李", "a\n", &"a".repeat(65)] {
            assert!(login(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn phones_are_digits() {
        for right in ["", "120", "13800000001", "+8613800000001"] {
            assert!(phone("phone", right).is_ok(), "{right}");
        }
        for wrong in ["12", "+", "138-0000", "138 0000", "13800000001;120", "１３８００", "++861380", &"1".repeat(21)]
        {
            assert!(phone("phone", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_email_address_can_add_no_header_and_no_recipient() {
        for right in ["", "li@example.com", "li.ming+duty@example.com", "李@example.com"] {
            assert!(email("email", right).is_ok(), "{right}");
        }
        for (wrong, why) in [
            ("li", "no @"),
            ("li@a@b", "more than one @"),
            ("@b", "nothing before"),
            ("a@", "nothing before"),
            ("a@b\r\nBcc: c", "space or control"),
            ("a@b\nX", "space or control"),
            ("a@b,c", "one of <"),
            ("<a@b>", "one of <"),
        ] {
            assert!(problem(email("email", wrong)).contains(why), "{wrong}");
        }
    }

    #[test]
    fn names_and_texts() {
        assert!(name("name", "王小明").is_ok());
        assert!(problem(name("name", " ")).contains("is empty"));
        assert!(text("address", "").is_ok());
        assert!(problem(text("address", "a\nb")).contains("control character"));
        assert!(problem(text("address", &"路".repeat(301))).contains("more than 300"));
    }
}
