//! LaunchDarkly's own API client for Python as a child process (`python/api.py`), and the lines that are spoken with it.
//!
//! `{"api": "FeatureFlagsApi", "method": "get_feature_flag", "arguments": {…}}` makes the call; `models` has those arguments
//! that the client wants as objects of its own, by type and value; `semanticPatch` is the body of one. The answer has the
//! `status` and the body as it came (`raw`), and what the client made of it: the `type` and the same again out of its own
//! object (`parsed`), or the name of its `exception`.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::parts;

/// How long a call may take, the client's start included.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The version of the API that we speak.
const API_VERSION: &str = "20240415";

/// The client for one LaunchDarkly, with one access token.
pub struct ApiClient {
    url: String,
    token: String,
}

/// The client's process. One for all tests, since it takes seconds to start; it ends with its input.
struct Process {
    // Killed by nobody: it reads to the end of its input, which comes when this process ends.
    _child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    name: String,
}

static PROCESS: LazyLock<Mutex<Process>> = LazyLock::new(|| Mutex::new(Process::start()));

impl Process {
    fn start() -> Self {
        let mut command = parts::api_client().expect("tests without their parts are not run");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
        let input = child.stdin.take().expect("is piped");
        let output = BufReader::new(child.stdout.take().expect("is piped"));
        let (sender, lines) = mpsc::channel();
        // It ends with the child's output, or when nobody listens any more.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut process = Self { _child: child, input, lines, name: String::new() };
        process.name = process.answer()["client"].as_str().expect("a name").to_owned();
        process
    }

    fn answer(&mut self) -> Value {
        let line = self.lines.recv_timeout(ANSWER_WITHIN).expect("the client answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))
    }
}

/// A call that is yet to be made.
#[must_use = "nothing is called before send()"]
pub struct Call {
    line: Map<String, Value>,
}

/// What came of a call.
#[derive(Debug)]
pub struct Answer(Value);

impl ApiClient {
    /// For the LaunchDarkly at this address, with this access token.
    pub fn of(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned() }
    }

    /// `launchdarkly-api 25.0.1`.
    pub fn name() -> String {
        PROCESS.lock().unwrap().name.clone()
    }

    /// With another access token from now on.
    pub fn token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// A call of a method of one of the client's APIs, with these arguments.
    pub fn call(&self, api: &str, method: &str, arguments: Value) -> Call {
        let line = json!({
            "url": self.url, "token": self.token, "version": API_VERSION,
            "api": api, "method": method, "arguments": arguments,
        });
        let Value::Object(line) = line else { unreachable!() };
        Call { line }
    }
}

impl Call {
    /// With an argument that the client wants as an object of its own.
    pub fn model(mut self, name: &str, of: &str, value: Value) -> Self {
        self.line.insert("models".to_owned(), json!({ name: { "type": of, "value": value } }));
        self
    }

    /// With this semantic patch.
    pub fn semantic_patch(mut self, body: Value) -> Self {
        self.line.insert("semanticPatch".to_owned(), body);
        self
    }

    /// With another version of the API.
    pub fn version(mut self, version: &str) -> Self {
        self.line.insert("version".to_owned(), json!(version));
        self
    }

    /// Makes the call. Fails where the client cannot parse what comes back.
    #[track_caller]
    pub fn send(self) -> Answer {
        let line = Value::Object(self.line);
        let answer = {
            let mut process = PROCESS.lock().unwrap();
            writeln!(process.input, "{line}").expect("the client listens");
            process.answer()
        };
        assert!(answer.get("error").is_none(), "{line}\n{}", answer["error"].as_str().unwrap_or_default());
        Answer(answer)
    }
}

impl Answer {
    /// Asserts that the client took it for this, and lost nothing of it; the body.
    #[track_caller]
    pub fn is(self, status: u64, of: &str) -> Value {
        assert_eq!((self.0["status"].as_u64(), self.0["type"].as_str()), (Some(status), Some(of)), "{}", self.0);
        assert_eq!(without_nulls(&self.0["parsed"]), without_nulls(&self.0["raw"]), "something is not in its model");
        self.0["raw"].clone()
    }

    /// Asserts that the client raised this exception, for this status and code; the body.
    #[track_caller]
    pub fn refused(self, exception: &str, status: u64, code: &str) -> Value {
        let seen = (self.0["exception"].as_str(), self.0["status"].as_u64(), self.0["raw"]["code"].as_str());
        assert_eq!(seen, (Some(exception), Some(status), Some(code)), "{}", self.0);
        self.0["raw"].clone()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.0["headers"][name].as_str()
    }
}

/// Members that are null left out: the client has no difference between them and those that are not there.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect::<Map<String, Value>>().into()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect::<Vec<Value>>().into(),
        other => other.clone(),
    }
}
