//! What stands between LaunchDarkly and the relays: the guard, or nginx. Each is a process of its own; its processor time
//! and its memory are read from `/proc`.

use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::LONG;
use crate::Outcome;

/// What `/proc` counts processor time in, for programs: USER_HZ, which is 100 on Linux.
const TICK: Duration = Duration::from_millis(10);

/// A process that passes the stream on. It is ended with the value.
pub struct Proxy {
    child: Child,
    /// Where relays come.
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx ends its workers, and the guard keeps what it knows.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// `rc guard` in this home, with a folder of its own.
    pub fn guard(rc: &Path, home: &Path, launchdarkly: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(rc);
        command.args([
            "guard",
            "--listen",
            "127.0.0.1:0",
            "--log",
            "json",
            "--relay-config",
            "ld-relay.conf",
            "--state",
        ]);
        command.arg(folder.path().join("guard")).current_dir(home).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("USER", "bench").env("LD_STREAM_URL", launchdarkly);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut told = String::new();
        let address = loop {
            let Some(line) = lines.next() else { return Err(format!("the guard did not begin:\n{told}").into()) };
            let line = line?;
            match serde_json::from_str::<serde_json::Value>(&line) {
                Ok(begun) if begun["what"] == "listens" => {
                    break begun["address"].as_str().unwrap_or_default().parse()?;
                }
                _ => told.push_str(&format!("{line}\n")),
            }
        };
        // Nobody reads the rest, and it must not wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address, _folder: folder })
    }

    /// nginx as a plain reverse proxy that keeps nothing: a worker for each core, as the guard has a thread for each.
    pub fn nginx(launchdarkly: SocketAddr) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        // Free a moment ago; nginx cannot be asked for one.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let workers = std::thread::available_parallelism()?;
        let place = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("    {kind}_temp_path {place}/{kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nworker_processes {workers};\npid {place}/nginx.pid;\nerror_log {place}/error.log warn;\n\
             events {{ worker_connections 8192; }}\nhttp {{\n    access_log off;\n{temporary}    server {{\n        \
             listen {address} reuseport;\n        location / {{\n            proxy_pass http://{launchdarkly};\n            \
             proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            proxy_buffering off;\n            \
             proxy_buffer_size 64k;\n            proxy_buffers 8 64k;\n            proxy_busy_buffers_size 128k;\n            \
             proxy_read_timeout 1h;\n        }}\n    }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).arg("-e").arg(folder.path().join("error.log"));
        let child = command.stdin(Stdio::null()).spawn()?;
        let proxy = Self { child, address, _folder: folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if begun.elapsed() > LONG {
                return Err("nginx did not begin".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(proxy)
    }

    /// The processor time, in the program and in the system for it, of the process and of its children.
    pub fn processor_time(&self) -> Outcome<Duration> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let all = std::iter::once(id.to_string()).chain(children.split_whitespace().map(str::to_owned));
        let mut ticks = 0;
        for id in all {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
            // The name, in brackets, may have spaces in it; utime and stime are the 14th and 15th field.
            let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
            for field in fields.split_whitespace().skip(11).take(2) {
                ticks += field.parse::<u32>()?;
            }
        }
        Ok(TICK * ticks)
    }

    /// The memory that it has, in bytes.
    pub fn memory(&self) -> Outcome<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1_024)
    }
}
