//! Orders that are typed at the prompt of a simulated LaunchDarkly, on a terminal.

use crate::support::rc::Rc;
use crate::support::terminal::Terminal;

fn serve(folder: &tempfile::TempDir) -> Terminal {
    Terminal::start(&Rc::new().env("TERM", "dumb").line("drill --serve"), folder.path())
}

#[test]
fn orders_are_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let (code, shown) = serve(&folder)
        .answer("help lists it, quit ends all.", "\n")
        .answer("drill>", "api 503 times 2\n")
        .answer("api     503 times 2", "off checkout as carol\n")
        .answer("checkout, shop/production: off v43, by carol.", "stream silence\n")
        .answer("stream  silence", "old\n")
        .answer("error: \"old\" is no command here", "status\n")
        .answer("stream  silence", "clear\n")
        .answer("stream  well", "help\n")
        .answer("half-event  old-put N|NAME", "quit\n")
        .end();
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn the_end_of_the_input_is_the_end() {
    // Ctrl-D on an empty line.
    let folder = tempfile::tempdir().unwrap();
    let (code, shown) = serve(&folder).answer("drill>", "\u{4}").end();
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn nobody_is_asked_where_json_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = Terminal::start(&Rc::new().line("drill --serve --json --until-input-ends"), folder.path());
    let (code, shown) = terminal.answer("\"control\":", "\u{4}").end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("drill>"), "{shown}");
}
