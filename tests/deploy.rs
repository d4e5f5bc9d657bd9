//! What stands in `deploy/`, held against the program: every option and variable is one that is read, ports and volumes
//! fit together, and each guard is started as it is written there.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;

use relay_commander::relay::configuration::RelayConfiguration;
use relay_commander::settings::table;
use serde_json::Value;

use crate::support::rc::Rc;

const KEY: &str = "sdk-11111111-1111-4111-8111-111111111111";

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap()
}

/// Whether `rc` reads a variable of this name as its own.
fn is_ours(name: &str) -> bool {
    table::ALL.iter().any(|setting| setting.name == name || setting.file_name().as_deref() == Some(name))
}

/// The words behind `--NAME`.
fn option<'w>(words: &'w [String], name: &str) -> &'w str {
    let at = words.iter().position(|word| word == name).unwrap_or_else(|| panic!("{name} is not in {words:?}"));
    &words[at + 1]
}

fn port(address: &str) -> u64 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Starts a guard with these words, at free ports and with a folder of its own, and gives the environments that it guards.
#[track_caller]
fn started(words: &[String], variables: &BTreeMap<String, String>, folder: &Path) -> Vec<String> {
    let mut words = words.to_vec();
    for (name, value) in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0"), ("--state", "state/guard")] {
        let at = words.iter().position(|word| word == name).unwrap();
        words[at + 1] = value.to_owned();
    }
    if !words.iter().any(|word| word == "--log") {
        words.extend(["--log".to_owned(), "json".to_owned()]);
    }
    fs::create_dir_all(folder.join("state")).unwrap();
    let mut rc = Rc::new().args(words);
    for (name, value) in variables {
        // Nobody is asked here: a store of this name may be somebody's.
        rc = rc.env(name, if name == "REDIS_HOSTS" { "127.0.0.1:1" } else { value });
    }
    rc = rc.env("LD_STREAM_URL", "http://127.0.0.1:1");
    let mut child = rc.command(folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut begun = None;
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        told.push_str(&format!("{line}\n"));
        if let Some(line) = serde_json::from_str::<Value>(&line).ok().filter(|line| line["what"] == "listens") {
            begun = Some(line);
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    let begun = begun.unwrap_or_else(|| panic!("it did not begin:\n{told}"));
    begun["environments"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The lines NAME=VALUE of a file, those that are switched off too.
fn assignments(text: &str) -> Vec<(String, String, bool)> {
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.trim_start_matches('#').split_once('=')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_name.then(|| (name.to_owned(), value.to_owned(), !line.starts_with('#')))
    });
    lines.collect()
}

/// The settings of a unit: name and value, in order.
fn unit() -> Vec<(String, String)> {
    let unit = read("systemd/rc-guard.service");
    let lines = unit.lines().filter(|line| !line.starts_with(['#', '[']));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn setting(name: &str) -> String {
    let unit = unit();
    let mut values = unit.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone());
    let value = values.next().unwrap_or_else(|| panic!("{name}= is not in the unit"));
    assert!(values.next().is_none(), "{name}= stands there twice");
    value
}

#[test]
fn the_unit_starts_a_guard() {
    let home = tempfile::tempdir().unwrap();
    let relay = format!("[Environment \"shop production\"]\nsdkKey = {KEY}\nprefix = ld:shop:production\n");
    fs::write(home.path().join("ld-relay.conf"), relay).unwrap();
    let line = setting("ExecStart");
    let (credential, file) =
        setting("LoadCredential").split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(line.contains(&format!("--relay-config %d/{credential} ")) && file.starts_with('/'), "{line}");
    let line = line.replace("%d", home.path().to_str().unwrap()).replace("%S", home.path().to_str().unwrap());
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Some(("/usr/local/bin/rc", words)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        panic!("{line}")
    };
    let environment: BTreeMap<String, String> = assignments(&read("systemd/guard.env"))
        .into_iter()
        .filter(|(_, _, is_on)| *is_on)
        .map(|(name, value, _)| (name, value))
        .collect();
    assert_eq!(started(words, &environment, home.path()), ["shop production"]);
    let state = format!("{}/{}", home.path().display(), setting("StateDirectory"));
    assert_eq!(option(words, "--state"), state, "its folder is the one that systemd makes");
    assert_eq!(setting("WorkingDirectory"), format!("%S/{}", setting("StateDirectory")));
}

#[test]
fn the_unit_is_as_it_says() {
    for (name, value) in [
        ("Restart", "always"),
        ("KillSignal", "SIGTERM"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
        ("EnvironmentFile", "/etc/relaycommander/guard.env"),
    ] {
        assert_eq!(setting(name), value, "{name}");
    }
    let files: u64 = setting("LimitNOFILE").parse().unwrap();
    assert!(files > relay_commander::guard::stream::downstream::CONNECTIONS_MAX as u64 + 1_000, "{files}");
    // What its comments name is there: the files that are installed, and the test that shows what is said of SIGTERM.
    let unit = read("systemd/rc-guard.service");
    assert!(unit.contains("deploy/systemd/guard.env") && unit.contains("deploy/systemd/rc-guard.service"));
    let test = "a_guard_ends_in_order_and_the_next_one_begins_at_once";
    assert!(unit.contains(&format!("tests/guard/outage.rs: {test}")));
    let tests = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guard/outage.rs")).unwrap();
    assert!(tests.contains(&format!("#[test]\nfn {test}()")));
    for (name, _, _) in assignments(&read("systemd/guard.env")) {
        assert!(is_ours(&name), "{name} is no setting");
    }
}

/// All documents of a manifest.
fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn of_kind<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn words_of(container: &Value) -> Vec<String> {
    list(&container["args"]).iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What is shared, and the Secret that its comment tells people to make.
fn shared() -> BTreeMap<String, String> {
    let text = read("kubernetes/settings.yaml");
    let map = of_kind(&documents("kubernetes/settings.yaml"), "ConfigMap")["data"].clone();
    let map = map.as_object().unwrap().iter();
    let mut shared: BTreeMap<String, String> =
        map.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    let secret = text.split("--from-literal=").nth(1).and_then(|rest| rest.split('=').next()).unwrap();
    assert!(text.contains("create secret generic relay-keys --from-literal="));
    shared.insert(secret.to_owned(), KEY.to_owned());
    shared
}

#[test]
fn relays_and_guards_read_what_they_share() {
    let shared = shared();
    let relay = RelayConfiguration::from_variables(shared.clone()).unwrap();
    assert_eq!(relay.environments.len(), 1);
    assert_eq!(relay.environments[0].prefix.as_deref(), Some("ld:shop:production"));
    let of_the_relay = ["USE_REDIS", "REDIS_HOST", "REDIS_PORT"];
    for name in shared.keys() {
        let is_known = is_ours(name) || table::RELAY.iter().any(|foreign| foreign.matches(name));
        assert!(is_known || of_the_relay.contains(&name.as_str()), "nobody reads {name}");
    }
    assert_eq!(shared["REDIS_HOSTS"], format!("{}:{}", shared["REDIS_HOST"], shared["REDIS_PORT"]));
}

#[test]
fn the_manifests_start_guards() {
    for (name, kind) in [("kubernetes/sidecar.yaml", "Deployment"), ("kubernetes/shared.yaml", "StatefulSet")] {
        let documents = documents(name);
        let pod = &of_kind(&documents, kind)["spec"]["template"]["spec"];
        let guard = list(&pod["containers"]).iter().find(|container| container["name"] == "guard").unwrap();
        let words = words_of(guard);
        let mut variables = shared();
        for variable in list(&guard["env"]) {
            let variable = variable["name"].as_str().unwrap();
            assert!(is_ours(variable), "{name}: {variable} is no setting");
            variables.insert(variable.to_owned(), "guard-0".to_owned());
        }
        let home = tempfile::tempdir().unwrap();
        assert_eq!(started(&words, &variables, home.path()), ["production"], "{name}");

        let admin = port(option(&words, "--admin"));
        let ports: BTreeMap<&str, u64> = list(&guard["ports"])
            .iter()
            .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_u64().unwrap()))
            .collect();
        assert_eq!(ports["admin"], admin, "{name}");
        for probe in ["startupProbe", "livenessProbe"] {
            assert_eq!(guard[probe]["httpGet"]["port"], "admin", "{name}");
            assert_eq!(guard[probe]["httpGet"]["path"], "/status", "{name}");
        }
        let mount = list(&guard["volumeMounts"])[0]["mountPath"].as_str().unwrap();
        assert!(option(&words, "--state").starts_with(&format!("{mount}/")), "{name}: below the volume");
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 10, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        for container in list(&pod["containers"]) {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{name}");
            // No image is published: whoever takes the file has to name one, and is told so at its head.
            let image = container["image"].as_str().unwrap();
            let told = read(name).lines().filter(|line| line.starts_with('#') && line.contains(image)).count();
            assert!(image.starts_with("REPLACE-WITH-YOUR-") && told > 0, "{name}: {image}");
            let from: Vec<&Value> = list(&container["envFrom"]).iter().collect();
            assert_eq!(from[0]["configMapRef"]["name"], "relay-settings", "{name}");
            assert_eq!(from[1]["secretRef"]["name"], "relay-keys", "{name}");
        }
        // What a service points at is there.
        let service = of_kind(&documents, "Service");
        for port in list(&service["spec"]["ports"]) {
            let all = list(&pod["containers"]).iter().flat_map(|container| list(&container["ports"]));
            let target = all.into_iter().find(|one| one["name"] == port["targetPort"]).unwrap();
            assert_eq!(target["containerPort"], port["port"], "{name}");
        }
        let labels = &of_kind(&documents, kind)["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&of_kind(&documents, kind)["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(&service["spec"]["selector"], labels);
    }
}

#[test]
fn the_relay_beside_the_guard_asks_the_guard() {
    let documents = documents("kubernetes/sidecar.yaml");
    let containers = list(&of_kind(&documents, "Deployment")["spec"]["template"]["spec"]["containers"]);
    let of = |name: &str| containers.iter().find(|container| container["name"] == name).unwrap();
    let mut variables = shared();
    for variable in list(&of("relay")["env"]) {
        let text = |field: &str| variable[field].as_str().unwrap().to_owned();
        variables.insert(text("name"), text("value"));
    }
    let relay = RelayConfiguration::from_variables(variables).unwrap();
    let listens = option(&words_of(of("guard")), "--listen").to_owned();
    let stream = relay.stream_uri.unwrap_or_default();
    assert_eq!(stream.trim_end_matches('/'), format!("http://{listens}"));
    assert_eq!(list(&of("relay")["ports"])[0]["containerPort"], relay.port);
    // The other one is asked by its service's name.
    let shared = self::documents("kubernetes/shared.yaml");
    let service = of_kind(&shared, "Service");
    let url = format!("STREAM_URI=http://{}:{}", service["metadata"]["name"].as_str().unwrap(), 8031);
    assert!(read("kubernetes/shared.yaml").contains(&url));
    assert_eq!(list(&service["spec"]["ports"])[0]["port"], 8031);
}

#[test]
fn no_file_names_a_registry() {
    for name in ["Containerfile", "kubernetes/sidecar.yaml", "kubernetes/shared.yaml", "kubernetes/settings.yaml"] {
        let text = read(name);
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("FROM ") || line.starts_with("image:"));
        for line in lines {
            let reference = line.split_whitespace().nth(1).unwrap();
            assert!(!reference.split('/').next().unwrap().contains('.') || !reference.contains('/'), "{name}: {line}");
        }
    }
}
