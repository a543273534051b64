//! The help one works from.

mod support;

use expect_test::expect_file;
use support::World;

#[test]
fn help_is_as_written_down() {
    let world = World::new();
    let mut text = world.run(&["--help"]).expect(0).stdout;
    for command in
        ["demo", "emulator", "snapshot", "plan", "sync", "backup", "points", "restore", "verify", "check", "doctor"]
    {
        let ran = world.run(&[command, "--help"]).expect(0);
        text.push_str(&format!("\n==== {command}\n\n{}", ran.stdout));
    }
    expect_file!["said/help.txt"].assert_eq(&text);
    assert!(world.run(&["--version"]).expect(0).stdout.starts_with("pageferry 0."));
}
