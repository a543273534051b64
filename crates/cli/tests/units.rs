//! The systemd units that ship with the project: their commands are ones that the binary knows, and systemd takes them.

mod support;

use std::process::Command;

use support::World;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd");

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{UNITS}/{name}")).unwrap()
}

/// The words of a unit's command, with the variables that the example sets.
fn command(unit: &str) -> Vec<String> {
    let (unit, example) = (read(unit), read("example.env"));
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/pageferry ")).unwrap();
    let value = |name: &str| {
        let found = example.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("the example does not set {name}")).to_owned()
    };
    line.split(' ')
        .flat_map(|word| match word.strip_prefix('$') {
            None => vec![word.to_owned()],
            Some(name) => match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => vec![value(name)],
                None => value(name).split(' ').map(str::to_owned).collect(),
            },
        })
        .collect()
}

#[test]
fn their_commands_are_known() {
    let world = World::new();
    for (unit, first) in [("pageferry-backup@.service", "backup"), ("pageferry-check@.service", "check")] {
        let words = command(unit);
        assert_eq!(words[0], first);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        // What is typed wrongly is told before help is given only for flags that are not known.
        words.push("--help");
        world.run(&words).expect(0);
        words.pop();
        words.push("--no-such-flag");
        world.run(&words).expect(2);
    }
}

#[test]
fn the_check_unit_does_what_it_says() {
    let world = World::new();
    world.week("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    let target = world.url("backups/web1.vhd");
    let mut words = command("pageferry-check@.service");
    words[1] = target;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = world.run(&words).expect(0);
    assert_eq!(ran.json()[0]["lags"], false);
}

#[test]
fn systemd_takes_them() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("not checked: there is no systemd-analyze here");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for unit in ["pageferry-backup@", "pageferry-check@"] {
        for kind in ["service", "timer"] {
            let path = directory.path().join(format!("{unit}web1.{kind}"));
            // The binary need not be installed for its unit to be sound.
            let text = read(&format!("{unit}.{kind}")).replace("/usr/local/bin/pageferry", "/bin/true");
            std::fs::write(&path, text).unwrap();
            units.push(path);
        }
    }
    let output = Command::new("systemd-analyze").arg("verify").args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("pageferry")).collect();
    assert!(ours.is_empty(), "{}", ours.join("\n"));
}
