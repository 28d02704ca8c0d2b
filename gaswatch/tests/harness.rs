//! The servers and clients that other tests rely on, by themselves: when these fail, the machine or the
//! harness is at fault, not Gaswatch.
#![cfg(feature = "live")]

mod support;

use anyhow::ensure;
use support::browser::Browser;
use support::kannel::Kannel;
use support::smtp::Smtp;
use support::{PATIENCE, eventually, http_client};

#[tokio::test]
async fn a_text_goes_through_kannel_to_the_phone() -> anyhow::Result<()> {
    let mut kannel = Kannel::start().await?;
    // longer than one SMS of 70 UCS-2 characters
    let text = "一氧化碳报警 7号302 ".repeat(8);
    let query = [
        ("username", "gaswatch"),
        ("password", "kannel-test"),
        ("from", "10690000"),
        ("to", "13800000001"),
        ("text", &text),
        ("coding", "2"),
        ("charset", "UTF-8"),
    ];
    let answer = http_client()?.get(kannel.send_url()).query(&query).send().await?;
    assert_eq!(answer.status(), 202);
    let sms = kannel.text(PATIENCE).await?;
    assert_eq!(sms.map(|sms| (sms.to, sms.text)), Some(("13800000001".to_owned(), text)));
    kannel.stop().await
}

#[tokio::test]
async fn the_smtp_server_refuses_mail_in_the_open() -> anyhow::Result<()> {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    let smtp = Smtp::start().await?;
    let mut socket = BufReader::new(tokio::net::TcpStream::connect(("127.0.0.1", smtp.port())).await?);
    let mut said = String::new();
    for line in ["EHLO test\r\n", "MAIL FROM:<a@example.org>\r\n", "QUIT\r\n"] {
        socket.write_all(line.as_bytes()).await?;
    }
    while socket.read_line(&mut said).await? > 0 {}
    ensure!(said.contains("STARTTLS"), "{said}");
    ensure!(said.lines().any(|line| line.starts_with("530")), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_browser_shows_a_page_and_is_gone_afterwards() -> anyhow::Result<()> {
    let browser = Browser::start().await?;
    browser.go("data:text/html;charset=utf-8,<h1>报警</h1><input id=i><p hidden>x</p>").await?;
    let heading = browser.wait("h1", PATIENCE).await?;
    assert_eq!(browser.text(&heading).await?, "报警");
    let input = browser.wait("#i", PATIENCE).await?;
    browser.type_into(&input, "白云").await?;
    assert_eq!(browser.script("return document.getElementById('i').value").await?, "白云");
    browser.wait_gone("p", PATIENCE).await?;
    assert!(browser.complaints().await?.is_empty());
    browser.close().await
}

#[tokio::test]
async fn a_browser_that_is_dropped_by_a_failed_test_leaves_nothing_running() -> anyhow::Result<()> {
    let browser = Browser::start().await?;
    let group = browser.group();
    ensure!(is_alive(group)?, "the browser is not in the group of its driver");
    drop(browser);
    eventually("the end of the browser", PATIENCE, async || Ok((!is_alive(group)?).then_some(()))).await
}

/// Whether any process of the group still does something.
fn is_alive(group: u32) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir("/proc")? {
        // one that ends meanwhile has no file any more
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        // pid (name) state parent group ..., where the name may hold anything
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let words: Vec<&str> = rest.split(' ').collect();
        if words.get(2) == Some(&group.to_string().as_str()) && words[0] != "Z" {
            return Ok(true);
        }
    }
    Ok(false)
}
