use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{START, World, co};

/// One mail: its headers, unfolded, and its decoded parts by content type.
struct Mail {
    headers: Vec<(String, String)>,
    parts: Vec<(String, String)>,
}

fn split(text: &str) -> (Vec<(String, String)>, &str) {
    let (head, body) = text.split_once("\r\n\r\n").expect("headers end with an empty line");
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers = unfolded
        .lines()
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}")))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    (headers, body)
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    headers.iter().find(|(other, _)| other == name).map_or_else(|| panic!("no {name}"), |(_, value)| value)
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'=' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn decoded(encoding: &str, body: &str) -> String {
    match encoding {
        "base64" => String::from_utf8(STANDARD.decode(body.replace("\r\n", "")).unwrap()).unwrap(),
        "quoted-printable" => quoted_printable(body),
        _ => body.to_owned(),
    }
}

/// Decodes `=?utf-8?b?...?=` words.
fn decoded_header(value: &str) -> String {
    let mut text = String::new();
    for word in value.split(' ') {
        match word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?=")) {
            Some(word) => text.push_str(&String::from_utf8(STANDARD.decode(word).unwrap()).unwrap()),
            None => text.push_str(word),
        }
    }
    text
}

fn read(text: &str) -> Mail {
    assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains('\n')), "RFC 5322 lines");
    let (headers, body) = split(text);
    let content_type = find(&headers, "content-type").to_owned();
    assert!(content_type.starts_with("multipart/alternative"), "{content_type}");
    let boundary = content_type.split_once("boundary=\"").unwrap().1.trim_end_matches('"').to_owned();
    let parts = body
        .split(&format!("--{boundary}"))
        .skip(1)
        .filter(|part| !part.starts_with("--"))
        .map(|part| {
            let (headers, body) = split(part.trim_start_matches("\r\n"));
            let encoding = find(&headers, "content-transfer-encoding").to_owned();
            (find(&headers, "content-type").to_owned(), decoded(&encoding, body.trim_end_matches("\r\n")))
        })
        .collect();
    Mail { headers, parts }
}

#[tokio::test]
async fn each_person_gets_a_well_formed_mail_in_their_language() {
    let mut world = World::with_mail().await;
    world.run();
    world.observe(&[co(1, "S1", START, 412.0)]).await;
    let incident = world.the_incident().await;
    world.until_all_sent(incident, 2).await;
    world.clock.advance(60_000);
    world.until_all_sent(incident, 6).await;
    world.stop().await;

    let mut mails: Vec<Mail> = std::fs::read_dir(world.dir.path().join("mail"))
        .unwrap()
        .map(|file| read(&std::fs::read_to_string(file.unwrap().path()).unwrap()))
        .collect();
    mails.sort_by_key(|mail| find(&mail.headers, "to").to_owned());
    assert_eq!(mails.len(), 3);
    let expected = [
        ("p1@example.org", "[危险]一氧化碳412ppm", "一氧化碳 412 ppm，达到立即危险值 300 ppm", "立即处置并确认"),
        (
            "p2@example.org",
            "[DANGER]CO412ppm",
            "CO 412 ppm, at or above the immediate danger limit",
            "Act now and confirm",
        ),
        ("p3@example.org", "[危险]一氧化碳412ppm", "一氧化碳 412 ppm，达到立即危险值 300 ppm", "立即处置并确认"),
    ];
    let mut ids = Vec::new();
    for (mail, (to, subject, words, act)) in mails.iter().zip(expected) {
        assert_eq!(find(&mail.headers, "to"), to);
        assert!(find(&mail.headers, "from").contains("gaswatch@example.org"));
        let read_subject = decoded_header(find(&mail.headers, "subject")).replace(' ', "");
        assert!(read_subject.starts_with(subject), "{read_subject}");
        assert_eq!(find(&mail.headers, "references"), format!("<incident-{incident}@example.org>"));
        assert!(find(&mail.headers, "date").starts_with("Mon, 23 Nov 2026 18:1"), "{}", find(&mail.headers, "date"));
        ids.push(find(&mail.headers, "message-id").to_owned());
        let [(plain_type, plain), (html_type, html)] = &mail.parts[..] else { panic!("two parts") };
        assert!(plain_type.starts_with("text/plain") && html_type.starts_with("text/html"));
        for part in [plain, html] {
            assert!(part.contains(words) && part.contains(act) && part.contains("石井街石沙路18号402室"), "{part}");
        }
        let link = plain.lines().last().unwrap().trim();
        let token = link.strip_prefix("http://10.0.0.5:8080/a/").unwrap();
        assert_eq!(world.alerts.read_link(token).unwrap().person, to[..2]);
        assert!(html.contains(&format!("<a href=\"{link}\">")));
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}
