//! The objects of `rc drill --json` are those that docs/drill.md shows.

use serde_json::Value;

const PAGE: &str = include_str!("../../docs/drill.md");

/// The block of the page that begins with this mark, as JSON.
#[track_caller]
fn block(mark: &str) -> Value {
    let (_, after) = PAGE.split_once(&format!("```{mark}\n")).unwrap_or_else(|| panic!("no block {mark}"));
    let (text, _) = after.split_once("\n```").unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{mark}: {error}"))
}

/// Every name in the object stands in the example too, and the other way round; of lists, the first few decide.
#[track_caller]
fn same_names(shown: &Value, real: &Value, place: &str) {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(shown), names(real), "{place}");
            for (name, value) in shown {
                same_names(value, &real[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            for shown in shown {
                let fits = |real: &&Value| match (shown, real) {
                    (Value::Object(shown), Value::Object(real)) => shown.keys().eq(real.keys()),
                    _ => true,
                };
                let real = real.iter().find(fits).unwrap_or_else(|| panic!("{place}: nothing is like {shown}"));
                same_names(shown, real, place);
            }
        }
        _ => {}
    }
}

/// The object of a rehearsal.
#[track_caller]
pub fn documented(object: &Value) {
    same_names(&block("json rehearsal"), object, "rehearsal");
}

/// The object of `--serve`.
#[track_caller]
pub fn documented_settings(object: &Value) {
    same_names(&block("json settings"), object, "settings");
}
