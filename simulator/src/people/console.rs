//! What a person does in the browser: open the link of a message, sign in, resolve an incident.

use model::DeviceId;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Response, Url};
use serde_json::Value;

use crate::html::{self, Form};
use crate::http::{self, HttpError};

/// Sign-in to the console.
#[derive(Clone)]
pub struct Login {
    pub login: String,
    pub password: String,
}

/// What is put on record when an incident is resolved.
pub(super) struct Outcome<'o> {
    pub(super) cause: &'o str,
    /// Words by which a ready-made cause is recognised.
    pub(super) cause_words: &'o [&'o str],
    pub(super) people_affected: &'o str,
    pub(super) action: &'o str,
}

/// A browser without memory: every task starts with no cookies.
pub(super) struct Browser {
    client: reqwest::Client,
    /// Base URL of the console, without a slash at the end.
    base: String,
}

type Cookies = Vec<(String, String)>;

impl Browser {
    pub(super) fn new(client: reqwest::Client, base: &str) -> Browser {
        Browser { client, base: base.trim_end_matches('/').to_owned() }
    }

    /// Opens the link of a message and presses the button of the form found there.
    pub(super) async fn acknowledge(&self, link: &str) -> Result<(), HttpError> {
        let page_url = url(link)?;
        let page = http::success(self.client.get(page_url.clone()).send().await?).await?;
        let mut forms = html::forms(&page).into_iter().filter(|form| form.is_post).peekable();
        let fallback = forms.peek().cloned();
        let leads_back = |form: &Form| target(&page_url, form).is_ok_and(|target| target.path() == page_url.path());
        let form = forms
            .find(leads_back)
            .or(fallback)
            .ok_or_else(|| HttpError::Unexpected(format!("{link} shows no form to acknowledge with")))?;
        accepted(self.submit(&page_url, &form, &Cookies::new()).await?).await.map(drop)
    }

    /// Signs in, finds the open incident of a sensor or home, and resolves it.
    pub(super) async fn resolve(
        &self,
        login: &Login,
        sensor: &DeviceId,
        premises: &str,
        outcome: &Outcome<'_>,
    ) -> Result<(), HttpError> {
        let cookies = self.sign_in(login).await?;
        let id = self
            .open_incident(&cookies, sensor, premises)
            .await?
            .ok_or_else(|| HttpError::Unexpected(format!("no open incident of {sensor} is listed")))?;
        let page_url = url(&format!("{}/incidents/{id}", self.base))?;
        let page = http::success(self.get(page_url.clone(), &cookies).await?).await?;
        let mut form = resolve_form(&page, &page_url, &id)?;
        form.answer("cause", outcome.cause, outcome.cause_words);
        form.answer("people", outcome.people_affected, &[outcome.people_affected]);
        form.answer("action", outcome.action, &[]);
        accepted(self.submit(&page_url, &form, &cookies).await?).await?;
        match self.open_incident(&cookies, sensor, premises).await? {
            Some(still) if still == id => {
                Err(HttpError::Unexpected(format!("incident {id} is still open after it was resolved")))
            }
            _ => Ok(()),
        }
    }

    async fn sign_in(&self, login: &Login) -> Result<Cookies, HttpError> {
        let page_url = url(&format!("{}/sign-in", self.base))?;
        let shown = self.client.get(page_url.clone()).send().await?;
        let mut cookies = Cookies::new();
        keep_cookies(&mut cookies, &shown);
        let page = http::success(shown).await?;
        let asks_for_password = |form: &Form| form.is_post && form.value("password").is_some();
        let mut form = html::forms(&page)
            .into_iter()
            .find(asks_for_password)
            .ok_or_else(|| HttpError::Unexpected(format!("{page_url} shows no form to sign in with")))?;
        form.set("login", &login.login);
        form.set("password", &login.password);
        let answer = self.submit(&page_url, &form, &cookies).await?;
        let has_session = answer.headers().contains_key(SET_COOKIE);
        keep_cookies(&mut cookies, &answer);
        accepted(answer).await?;
        match has_session {
            true => Ok(cookies),
            false => Err(HttpError::Unexpected(format!("signing in as {} gave no session", login.login))),
        }
    }

    async fn open_incident(
        &self,
        cookies: &Cookies,
        sensor: &DeviceId,
        premises: &str,
    ) -> Result<Option<String>, HttpError> {
        let list_url = url(&format!("{}/api/v1/incidents", self.base))?;
        let text = http::success(self.get(list_url.clone(), cookies).await?).await?;
        let list: Value = serde_json::from_str(&text)
            .map_err(|error| HttpError::Unexpected(format!("{list_url} is not JSON: {error}")))?;
        Ok(find_open(&list, sensor, premises))
    }

    async fn get(&self, url: Url, cookies: &Cookies) -> Result<Response, HttpError> {
        Ok(self.client.get(url).header(COOKIE, cookie_header(cookies)).send().await?)
    }

    async fn submit(&self, page: &Url, form: &Form, cookies: &Cookies) -> Result<Response, HttpError> {
        let mut request = self
            .client
            .post(target(page, form)?)
            .header(ORIGIN, page.origin().ascii_serialization())
            .form(&form.fields);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookie_header(cookies));
        }
        Ok(request.send().await?)
    }
}

/// The newest incident of the sensor or home that is not resolved, from `[...]` or `{"incidents": [...]}`.
fn find_open(list: &Value, sensor: &DeviceId, premises: &str) -> Option<String> {
    let entries = list.as_array().or_else(|| list.get("incidents")?.as_array())?;
    let text = |entry: &Value, key: &str| match entry.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let mut found: Vec<String> = entries
        .iter()
        .filter(|entry| text(entry, "sensor") == sensor.as_str() || text(entry, "premises") == premises)
        .filter(|entry| text(entry, "state") != "resolved")
        .map(|entry| text(entry, "id"))
        .filter(|id| !id.is_empty())
        .collect();
    found.sort_by_key(|id| (id.len(), id.clone()));
    found.pop()
}

/// The page's form that leads to `/incidents/{id}/resolve`.
fn resolve_form(page: &str, page_url: &Url, id: &str) -> Result<Form, HttpError> {
    let path = format!("/incidents/{id}/resolve");
    let leads_there = |form: &Form| form.is_post && target(page_url, form).is_ok_and(|url| url.path() == path);
    let form = html::forms(page).into_iter().find(leads_there);
    let form = form.ok_or_else(|| HttpError::Unexpected(format!("{page_url} shows no form to resolve with")))?;
    match form.value("csrf") {
        Some(csrf) if !csrf.is_empty() => Ok(form),
        _ => Err(HttpError::Unexpected(format!("the form on {page_url} has no csrf field"))),
    }
}

fn target(page: &Url, form: &Form) -> Result<Url, HttpError> {
    match &form.action {
        None => Ok(page.clone()),
        Some(action) => page
            .join(action)
            .map_err(|error| HttpError::Unexpected(format!("the form's action {action:?} is no address: {error}"))),
    }
}

fn url(text: &str) -> Result<Url, HttpError> {
    Url::parse(text).map_err(|error| HttpError::Unexpected(format!("{text:?} is no address: {error}")))
}

/// A submitted form is accepted by a page or by a redirect to one.
async fn accepted(response: Response) -> Result<(), HttpError> {
    if response.status().is_redirection() && response.headers().contains_key(LOCATION) {
        return Ok(());
    }
    http::success(response).await.map(drop)
}

fn keep_cookies(cookies: &mut Cookies, response: &Response) {
    for header in response.headers().get_all(SET_COOKIE) {
        let pair = header.to_str().ok().and_then(|text| text.split(';').next()?.split_once('='));
        if let Some((name, value)) = pair {
            cookies.retain(|(its_name, _)| its_name != name.trim());
            cookies.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
}

fn cookie_header(cookies: &Cookies) -> String {
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// The first web address in a message, without what a sentence puts behind it.
pub(super) fn link(text: &str) -> Option<&str> {
    let start = text.find("http://").or_else(|| text.find("https://"))?;
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_ascii_graphic() || matches!(c, '<' | '>' | '"')).unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches(['.', ',', ';', ':', ')', ']', '!']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_link_is_cut_out_of_chinese_and_english() {
        assert_eq!(link("点此确认http://h/a/t-_1。谢谢"), Some("http://h/a/t-_1"));
        assert_eq!(link("(open https://h:8/a/x?l=en). Now"), Some("https://h:8/a/x?l=en"));
        assert_eq!(link("no link"), None);
    }

    #[test]
    fn the_newest_open_incident_of_the_sensor_is_meant() {
        let sensor = DeviceId::new("S-1").unwrap();
        let list = json!([
            {"id": 9, "sensor": "S-1", "state": "open"},
            {"id": 10, "sensor": "S-1", "state": "acknowledged"},
            {"id": 11, "sensor": "S-1", "state": "resolved"},
            {"id": 12, "sensor": "S-2", "state": "open"},
            {"id": 13, "sensor": null, "state": "open"},
        ]);
        assert_eq!(find_open(&list, &sensor, "H-1"), Some("10".to_owned()));
        let wrapped = json!({"incidents": [{"id": "0198-a", "premises": "H-1", "state": "open"}]});
        assert_eq!(find_open(&wrapped, &sensor, "H-1"), Some("0198-a".to_owned()));
        assert_eq!(find_open(&json!("?"), &sensor, "H-1"), None);
    }

    #[test]
    fn a_form_without_csrf_is_not_used() {
        let page_url = url("http://h/incidents/7").unwrap();
        let form = |inner: &str| format!(r#"<form method="post" action="/incidents/7/resolve">{inner}</form>"#);
        assert!(resolve_form(&form("<input type=hidden name=csrf value=t>"), &page_url, "7").is_ok());
        assert!(resolve_form(&form("<input type=hidden name=csrf value=''>"), &page_url, "7").is_err());
        assert!(resolve_form(&form("<input type=hidden name=csrf value=t>"), &page_url, "8").is_err());
    }
}
