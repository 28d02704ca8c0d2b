//! Pages as people see them.

use axum::http::StatusCode;
use model::time::{DAY, MINUTE};
use registry::people::Language;

use super::world::{Browser, HOSTILE, PHONE, World};
use crate::assets;
use crate::texts::Texts;

fn all_pages(incident: i64, token: &str) -> Vec<String> {
    let mut pages: Vec<String> = [
        "/",
        "/sensors",
        "/sensors?text=S1&state=danger",
        "/sensors?text=nothing",
        "/sensors/S1",
        "/sensors/S2",
        "/quarantine",
        "/roster",
        "/sign-in",
    ]
    .iter()
    .map(|path| (*path).to_owned())
    .collect();
    pages.push(format!("/incidents/{incident}"));
    pages.push(format!("/a/{token}"));
    pages.push("/a/forged".to_owned());
    pages.push("/there/is/no/such/page".to_owned());
    pages
}

#[tokio::test]
async fn every_page_speaks_both_languages_and_keeps_the_rules() {
    let (world, incident) = World::with_danger().await;
    let token = world.link().await;
    let signed_in = world.sign_in("duty").await;
    for (code, language) in [("zh", Language::Zh), ("en", Language::En)] {
        let browser = signed_in.clone().with("language", code).with("theme", "night");
        for path in all_pages(incident, &token) {
            let answer = world.get(&browser, &path).await;
            let html = &answer.body;
            // the acknowledge page speaks its person's language
            let t = if path == format!("/a/{token}") { Texts::of(Language::Zh) } else { Texts::of(language) };
            assert!(html.contains(&format!("<html lang=\"{}\" data-theme=\"night\"", t.lang)), "{path}: {html}");
            assert!(html.contains(&format!("· {}</title>", t.product)), "{path}");
            // the words that the script fills in itself
            let (head, rest) = html.split_once(" data-words=\"").unwrap_or((html, ""));
            let html = &format!("{head}{}", rest.split_once('"').map_or("", |(_, rest)| rest));
            for place in ["{0}", "{1}", "{{", "NaN"] {
                assert!(!html.contains(place), "{path}: {place} is left over");
            }
            check_markup(&path, html);
            if let Some(folder) = std::env::var_os("GASWATCH_GALLERY") {
                let name = format!("page{}-{code}.html", path.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
                let html = html.replace(&assets::url(""), "assets/");
                std::fs::write(std::path::Path::new(&folder).join(name), html).unwrap();
            }
        }
        for (path, word) in
            [("/", "nav_alarms"), ("/sensors", "sensors"), ("/quarantine", "quarantine"), ("/roster", "plan")]
        {
            let word = crate::texts::ALL.iter().find(|(key, _, _)| *key == word).unwrap();
            let word = if code == "zh" { word.1 } else { word.2 };
            assert!(world.get(&browser, path).await.body.contains(word), "{path}: {word}");
        }
    }
}

/// No inline script or style, no address elsewhere, and every asset is embedded.
fn check_markup(path: &str, html: &str) {
    let lower = html.to_lowercase();
    assert!(!lower.contains(&HOSTILE.to_lowercase()), "{path}: unescaped input");
    assert!(!lower.contains("<script>") && !lower.contains("<style") && !lower.contains("javascript:"), "{path}");
    for tag in lower.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let attributes = tag.split('"').step_by(2).collect::<String>();
        assert!(!attributes.contains(" style="), "{path}: <{tag}>");
        assert!(!attributes.contains(" on"), "{path}: <{tag}>");
    }
    for reference in ["href=\"", "src=\"", "action=\""] {
        for address in html.split(reference).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(
                address.starts_with('/') || address.starts_with('#') || address.starts_with("tel:"),
                "{path}: {address}"
            );
            assert!(!address.starts_with("//"), "{path}: {address}");
            if let Some(asset) = address.strip_prefix("/assets/") {
                let name = asset.split_once('/').unwrap().1;
                assert!(assets::Files::get(name).is_some(), "{path}: {name} is not embedded");
            }
        }
    }
}

#[tokio::test]
async fn scripts_and_styles_are_our_own_and_refer_to_nothing_elsewhere() {
    let world = World::new().await;
    for name in assets::Files::iter() {
        let answer = world.get(&Browser::default(), &assets::url(&name)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.headers["cache-control"].to_str().unwrap().contains("immutable"), "{name}");
        let text = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("url(//"), "{name}");
        assert!(text.len() < 40_000, "{name} is {} bytes", text.len());
        assert!(!name.contains(".min."), "{name}");
        for import in text.split("from '").skip(1).map(|rest| rest.split('\'').next().unwrap()) {
            assert!(assets::Files::get(import.trim_start_matches("./")).is_some(), "{name} imports {import}");
        }
    }
    let old = world.get(&Browser::default(), "/assets/0000/console.css").await;
    assert_eq!((old.status, old.headers["cache-control"].to_str().unwrap()), (StatusCode::OK, "no-store"));
    assert_eq!(world.get(&Browser::default(), "/assets/x/..%2fCargo.toml").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_empty_list_says_what_is_watched_and_never_calls_silence_normal() {
    let world = World::new().await;
    let browser = world.sign_in("duty").await.with("language", "en");
    let t = Texts::of(Language::En);
    let page = world.get(&browser, "/").await.body;
    assert!(page.contains(t.all_quiet) && page.contains(t.watching_nobody));
    world.read("S1", world.clock.now(), 4.0).await;
    world.clock.advance(3_000);
    let page = world.get(&browser, "/").await.body;
    assert!(page.contains("Watching: 1 of 2 sensors reporting, last reading 3 s ago."), "{page}");
    world.clock.advance(10 * MINUTE);
    let page = world.get(&browser, "/sensors?text=S1").await.body;
    assert!(page.contains(t.sc_no_data) && page.contains("stale") && !page.contains("<span>Normal</span>"), "{page}");
}

#[tokio::test]
async fn from_alarm_to_resolution_through_the_forms() {
    let (world, incident) = World::with_danger().await;
    let browser = world.sign_in("duty").await.with("language", "en");
    let t = Texts::of(Language::En);
    let list = world.get(&browser, "/").await.body;
    assert!(list.contains(&format!("id=\"incident-{incident}\"")) && list.contains(t.nobody_yet));
    assert!(
        list.contains("<b>412</b>") && list.contains("/ 300") && list.contains("<b>1</b> danger waiting"),
        "{list}"
    );
    let page = world.get(&browser, &format!("/incidents/{incident}")).await.body;
    assert!(page.contains(PHONE) && page.contains(t.resolve_hint) && page.contains("class=\"limit-300\""));

    let ack = format!("/incidents/{incident}/acknowledge");
    let answer = world.post(&browser, &ack, &[("csrf", &browser.csrf), ("to", "/")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"));
    let list = world.get(&browser, "/").await.body;
    assert!(list.contains("王建国") && list.contains(t.state_acknowledged) && list.contains("<b>0</b> danger waiting"));

    let resolve = format!("/incidents/{incident}/resolve");
    let form = [("csrf", browser.csrf.as_str()), ("cause", "  "), ("people", "two"), ("action", "Vented & closed")];
    let answer = world.post(&browser, &resolve, &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.body.contains(t.err_cause) && answer.body.contains(t.err_people) && !answer.body.contains(t.err_action)
    );
    assert!(answer.body.contains("Vented &#38; closed"), "what was typed is kept");
    let form = [("csrf", browser.csrf.as_str()), ("cause", "Blocked flue"), ("people", "2"), ("action", "Vented")];
    let answer = world.post(&browser, &resolve, &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let list = world.get(&browser, "/").await.body;
    assert!(list.contains("Blocked flue") && !list.contains(&format!("id=\"incident-{incident}\"")));
    let fragment = world.get(&browser, &format!("/fragments/incidents/{incident}")).await.body;
    assert!(fragment.contains("Blocked flue") && !fragment.contains("<html"));
}

#[tokio::test]
async fn looking_at_a_link_changes_nothing_and_the_button_acknowledges() {
    let (world, incident) = World::with_danger().await;
    let path = format!("/a/{}", world.link().await);
    let phone = Browser::default();
    let t = Texts::of(Language::Zh);
    for _ in 0..3 {
        let page = world.get(&phone, &path).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains(t.ack_button) && page.body.contains("412"), "{}", page.body);
    }
    let before = world.shared.alerts.detail(incident).await.unwrap().unwrap();
    assert!(before.incident.acknowledged.is_none());

    let answer = world.post(&phone, &path, &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, path.as_str()));
    let after = world.shared.alerts.detail(incident).await.unwrap().unwrap().incident.acknowledged.unwrap();
    assert_eq!((after.person.as_str(), after.via), ("duty", alerts::incident::Via::Link));
    let page = world.get(&phone, &path).await.body;
    assert!(page.contains(t.ack_done) && !page.contains("<form"), "{page}");
    assert_eq!(world.post(&phone, &path, &[]).await.status, StatusCode::SEE_OTHER, "a second press is harmless");
}

#[tokio::test]
async fn a_link_that_is_no_good_says_so_and_what_to_do() {
    let (world, incident) = World::with_danger().await;
    let token = world.link().await;
    let english = Browser::default().with("language", "en");
    let t = Texts::of(Language::En);
    for forged in ["x", "/", &token[..token.len() - 1], &format!("{token}A")] {
        let path = format!("/a/{}", forged.replace('/', "%2F"));
        let page = world.get(&english, &path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(page.body.contains(t.ack_forged) && page.body.contains("duty desk"), "{}", page.body);
        assert_eq!(world.post(&english, &path, &[]).await.status, StatusCode::NOT_FOUND);
    }
    world.clock.advance(30 * DAY);
    let page = world.get(&english, &format!("/a/{token}")).await;
    assert_eq!(page.status, StatusCode::GONE);
    assert!(page.body.contains(t.ack_expired) && page.body.contains("Sign in"));
    assert_eq!(world.post(&english, &format!("/a/{token}"), &[]).await.status, StatusCode::GONE);
    assert!(world.shared.alerts.detail(incident).await.unwrap().unwrap().incident.acknowledged.is_none());
}

#[tokio::test]
async fn a_link_for_an_answered_alarm_names_who_has_it() {
    let (world, incident) = World::with_danger().await;
    let path = format!("/a/{}", world.link().await);
    world.shared.alerts.acknowledge(incident, "deputy", alerts::incident::Via::Console).await.unwrap();
    let page = world.get(&Browser::default(), &path).await.body;
    assert!(page.contains("Li Min") && !page.contains("<form"), "{page}");
}

#[tokio::test]
async fn language_and_theme_are_chosen_by_form_and_kept() {
    let world = World::new().await;
    let answer =
        world.post(&Browser::default(), "/preferences", &[("theme", "night"), ("to", "/sensors?text=a")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/sensors?text=a"));
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("theme=night") && cookie.contains("Path=/") && cookie.contains("SameSite=Lax"));
    let wrong = world.post(&Browser::default(), "/preferences", &[("theme", "pink"), ("language", "xx")]).await;
    assert!(wrong.headers.get("set-cookie").is_none());
    // 07:06 in Guangzhou, then twelve hours later
    assert!(world.get(&Browser::default(), "/sign-in").await.body.contains("data-theme=\"day\" data-choice=\"auto\""));
    world.clock.advance(DAY / 2);
    assert!(
        world.get(&Browser::default(), "/sign-in").await.body.contains("data-theme=\"night\" data-choice=\"auto\"")
    );
}

/// Follows `rel="next"` to the end and returns what `marker` was found before on each page.
async fn walk(world: &World, browser: &Browser, start: &str, marker: &str) -> Vec<String> {
    let (mut found, mut path) = (Vec::new(), Some(start.to_owned()));
    while let Some(here) = path {
        let html = world.get(browser, &here).await.body;
        let rows = html.split(marker).skip(1).map(|rest| rest.split(['"', '<']).next().unwrap().to_owned());
        found.extend(rows);
        let next = html.split("rel=\"next\" href=\"").nth(1);
        path = next.map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"));
    }
    found
}

#[tokio::test]
async fn long_lists_come_in_pages_that_lose_and_repeat_nothing() {
    let world = World::new().await;
    let ids: Vec<String> = (0..250).map(|n| format!("ZZ{n:03}")).collect();
    let sensors: Vec<_> = ids.iter().map(|id| super::world::sensor(id, "P2")).collect();
    let items: Vec<_> = (100..220).map(|position| super::world::quarantined(position, "odd")).collect();
    let mut tx = world.shared.registry.ledger().begin().await.unwrap();
    registry::sensors::put_sensors(&mut tx, &sensors).await.unwrap();
    store::quarantine::put(&mut tx, &items).await.unwrap();
    tx.commit().await.unwrap();
    world.shared.registry.reload().await.unwrap();
    let browser = world.sign_in("duty").await;
    assert_eq!(walk(&world, &browser, "/sensors?text=zz&state=never", "data-href=\"/sensors/").await, ids);
    let topics = walk(&world, &browser, "/quarantine", "<small><code>odd/").await;
    assert_eq!(topics, (100..220).rev().map(|position| position.to_string()).collect::<Vec<_>>());
}
