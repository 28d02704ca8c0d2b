//! Just enough HTML reading to fill in a form as a browser would.

/// A form as a browser would send it when its first button is pressed untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// As written; `None` means the page's own address.
    pub(crate) action: Option<String>,
    pub(crate) is_post: bool,
    /// Names and values, in page order.
    pub(crate) fields: Vec<(String, String)>,
    /// Names and possible values of fields that offer a choice.
    pub(crate) choices: Vec<(String, String)>,
}

impl Form {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|(its_name, _)| its_name != name);
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    /// Sets a field to `text`, or, where the form offers a choice, to the first offer with one of
    /// the words in it, or else to the first offer.
    pub(crate) fn answer(&mut self, name: &str, text: &str, words: &[&str]) {
        let offers: Vec<&str> = self
            .choices
            .iter()
            .filter(|(its_name, value)| its_name == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
            .collect();
        let fitting = offers.iter().find(|offer| words.iter().any(|word| offer.contains(word)));
        let value = fitting.or(offers.first()).map_or_else(|| text.to_owned(), |offer| (*offer).to_owned());
        self.set(name, &value);
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(its_name, _)| its_name == name).map(|(_, value)| value.as_str())
    }
}

/// All forms of a page, in order.
pub(crate) fn forms(page: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut form: Option<Form> = None;
    let mut select: Option<Select> = None;
    let mut has_button = false;
    let tags = Tags { rest: page };
    for tag in tags {
        let Some(current) = form.as_mut() else {
            if tag.name == "form" {
                let is_post = tag.attribute("method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
                let action = tag.attribute("action").filter(|action| !action.is_empty());
                form = Some(Form { action, is_post, ..Form::default() });
                has_button = false;
            }
            continue;
        };
        let name = tag.attribute("name").filter(|name| !name.is_empty());
        let value = tag.attribute("value");
        match tag.name.as_str() {
            "/form" => {
                forms.extend(form.take());
                select = None;
            }
            "input" | "button" => {
                let kind = tag.attribute("type").unwrap_or_default().to_ascii_lowercase();
                let is_button = matches!(kind.as_str(), "submit" | "image")
                    || (tag.name == "button" && !matches!(kind.as_str(), "button" | "reset"));
                let is_first_button = is_button && !has_button;
                has_button |= is_button;
                let Some(name) = name.filter(|_| !tag.has("disabled")) else { continue };
                match kind.as_str() {
                    "radio" | "checkbox" => {
                        let value = value.unwrap_or_else(|| "on".to_owned());
                        current.choices.push((name.clone(), value.clone()));
                        if tag.has("checked") {
                            current.fields.push((name, value));
                        }
                    }
                    _ if is_button && !is_first_button => {}
                    "button" | "reset" | "file" => {}
                    _ => current.fields.push((name, value.unwrap_or_default())),
                }
            }
            "textarea" => current.fields.extend(name.map(|name| (name, String::new()))),
            "select" => select = name.map(|name| Select { name, chosen: None }),
            "option" => {
                if let Some(select) = &mut select {
                    let value = value.unwrap_or_else(|| tag.text_after.to_owned());
                    if select.chosen.is_none() || tag.has("selected") {
                        select.chosen = Some(value.clone());
                    }
                    current.choices.push((select.name.clone(), value));
                }
            }
            "/select" => {
                if let Some(Select { name, chosen: Some(value) }) = select.take() {
                    current.fields.push((name, value));
                }
            }
            _ => {}
        }
    }
    forms.extend(form);
    forms
}

struct Select {
    name: String,
    chosen: Option<String>,
}

struct Tag<'p> {
    /// Lower case, `/name` for an end tag.
    name: String,
    attributes: Vec<(String, String)>,
    text_after: &'p str,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(its_name, _)| its_name == name).map(|(_, value)| value.clone())
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(its_name, _)| its_name == name)
    }
}

struct Tags<'p> {
    rest: &'p str,
}

impl<'p> Iterator for Tags<'p> {
    type Item = Tag<'p>;

    fn next(&mut self) -> Option<Tag<'p>> {
        loop {
            let (_, after) = self.rest.split_once('<')?;
            if let Some(comment) = after.strip_prefix("!--") {
                self.rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
                continue;
            }
            let name_length = after
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '!')))
                .unwrap_or(after.len());
            let name = after[..name_length].trim_end_matches('/').to_ascii_lowercase();
            let (attributes, rest) = attributes(&after[name_length..]);
            self.rest = rest;
            if name == "script" || name == "style" {
                let end = format!("</{name}");
                self.rest = rest.find(&end).map_or("", |at| &rest[at..]);
            }
            let text_after = self.rest.split('<').next().unwrap_or_default().trim();
            return Some(Tag { name, attributes, text_after });
        }
    }
}

/// Attributes up to the closing `>`, and what follows it.
fn attributes(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return (found, after);
        }
        let length = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        rest = rest[length..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            (value, rest) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
                _ => after.split_at(after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len())),
            };
        } else if name.is_empty() && rest.is_empty() {
            return (found, rest);
        }
        if !name.is_empty() {
            found.push((name, unescape(value)));
        }
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest.find(';').map(|end| &rest[1..end]);
        match entity.and_then(character) {
            Some(character) => {
                plain.push(character);
                rest = rest.split_once(';').map_or("", |(_, rest)| rest);
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_form_is_sent_as_a_browser_would() {
        let page = r#"<!doctype html><!-- <form action="/no"> --><script>if (a < b) { "<form>" }</script>
            <form method="post" action="/a/x?b=1&amp;c=2">
              <input type="hidden" name="csrf" value="a&quot;b&#39;c">
              <input type=hidden name=plain value=bare>
              <input name='note' />
              <input type="checkbox" name="seen"><input type="checkbox" name="sure" value="yes" checked>
              <input type="radio" name="eta" value="5"><input type="radio" name="eta" value="10" checked>
              <select name="cause"><option value="">choose</option><option value="blocked_flue">Flue</option><option>other</option></select>
              <textarea name="action"></textarea>
              <button name="go" value="on_the_way">Go</button><button name="go" value="shelve">Later</button>
            </form><form action="/search"><input name="q"></form>"#;
        let forms = forms(page);
        assert_eq!(forms.len(), 2);
        assert!(forms[0].is_post && !forms[1].is_post);
        assert_eq!(forms[0].action.as_deref(), Some("/a/x?b=1&c=2"));
        let expected = [
            ("csrf", "a\"b'c"),
            ("plain", "bare"),
            ("note", ""),
            ("sure", "yes"),
            ("eta", "10"),
            ("cause", ""),
            ("action", ""),
            ("go", "on_the_way"),
        ];
        assert_eq!(forms[0].fields, pairs(&expected));
    }

    #[test]
    fn an_answer_is_one_of_the_offers_or_free_text() {
        let page = r#"<form><select name=cause><option value=""><option value=engine><option value=blocked_flue></select><input name=action></form>"#;
        let mut form = forms(page).remove(0);
        form.answer("cause", "blocked flue", &["flue"]);
        assert_eq!(form.value("cause"), Some("blocked_flue"));
        form.answer("cause", "a bear", &["bear"]);
        assert_eq!(form.value("cause"), Some("engine"));
        form.answer("action", "window opened", &[]);
        assert_eq!(form.value("action"), Some("window opened"));
    }

    #[test]
    fn an_unclosed_form_still_counts() {
        let forms = forms("<FORM METHOD=POST><input name=a value=1");
        assert_eq!(forms[0].fields, pairs(&[("a", "1")]));
        assert!(forms[0].is_post);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail(page in r#"(<|>|/|=|"|'|form|input|select|option|button|name|value|type|&|#|x|;|!--|-->|script|[ a密])*"#) {
            let _ = forms(&page);
        }

        #[test]
        fn hidden_values_survive_escaping(value in "\\PC*") {
            let escaped = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#x27;");
            let page = format!("<form method=post><input type=\"hidden\" name=\"v\" value=\"{escaped}\"></form>");
            let form = forms(&page).remove(0);
            prop_assert_eq!(form.value("v"), Some(value.as_str()));
        }
    }
}
