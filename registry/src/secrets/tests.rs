use super::*;

fn file(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("secrets.toml")
}

fn same(a: &Secrets, b: &Secrets) -> bool {
    (&a.fleet.keys, a.links, &a.callbacks) == (&b.fleet.keys, b.links, &b.callbacks)
}

#[test]
fn the_first_start_makes_what_the_next_ones_read() {
    let dir = tempfile::tempdir().unwrap();
    let made = Secrets::load_or_make(&file(&dir)).unwrap();
    let read = Secrets::load_or_make(&file(&dir)).unwrap();
    assert!(same(&made, &read));
    assert!(!same(&made, &Secrets::generate().unwrap()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(file(&dir)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn of_processes_that_start_at_once_all_get_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let all: Vec<Secrets> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Secrets::load_or_make(&path).unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(all.iter().all(|one| same(one, &all[0])));
}

#[test]
fn a_file_that_is_not_understood_stays_and_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let key = base64url(&[5; 32]);
    let callbacks = "c".repeat(43);
    for (text, words) in [
        (String::new(), "line 1"),
        (format!("fleet = [\"{key}\"]\nlinks = [\"{key}\"]\ncallbacks = \"{callbacks}\"\n"), "line 2"),
        (format!("fleet = []\nlinks = \"{key}\"\ncallbacks = \"{callbacks}\"\n"), "no fleet key"),
        (format!("fleet = [\"{key}\", \"x{key}\"]\nlinks = \"{key}\"\ncallbacks = \"{callbacks}\"\n"), "fleet key 2"),
        (format!("fleet = [\"{key}\"]\nlinks = \"{key}{key}\"\ncallbacks = \"{callbacks}\"\n"), "links"),
        (format!("fleet = [\"{key}\"]\nlinks = \"{key}\"\ncallbacks = \"/\"\n"), "callbacks"),
        (format!("fleet = [\"{key}\"]\nlinks = \"{key}\"\ncallbacks = \"{callbacks}\"\nmore = \"{key}\"\n"), "line"),
    ] {
        fs::write(file(&dir), &text).unwrap();
        let error = Secrets::load_or_make(&file(&dir)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains(&key), "{error}");
        assert_eq!(fs::read_to_string(file(&dir)).unwrap(), text);
    }
}

#[test]
fn a_missing_directory_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none").join("secrets.toml");
    let error = Secrets::load_or_make(&path).unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}

#[test]
fn secrets_follow_the_documented_derivation() {
    // printf 'gaswatch device S1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707..07
    let keys = FleetKeys { keys: vec![[7; 32], [8; 32]] };
    assert_eq!(keys.secret(1, "S1").unwrap(), "FkELxHerAAObQvuruBPM6YBOPn5Nz5Igwa9KIt9EYzc");
    assert_eq!(keys.newest(), 2);
    assert_ne!(keys.secret(1, "S1"), keys.secret(2, "S1"));
    assert_ne!(keys.secret(1, "S1"), keys.secret(1, "S2"));
    assert_eq!((keys.secret(0, "S1"), keys.secret(3, "S1")), (None, None));
}

#[test]
fn debug_output_shows_no_key() {
    let secrets = Secrets { fleet: FleetKeys { keys: vec![[7; 32]] }, links: [7; 32], callbacks: "seven".into() };
    assert_eq!(format!("{secrets:?}"), "Secrets { fleet: FleetKeys(1 versions), .. }");
}
