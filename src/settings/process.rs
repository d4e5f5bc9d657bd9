//! What the process was started with. Read once, here and nowhere else; everybody else is handed the value, so that a
//! test can hand them another. It must not interpret anything.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The environment of a process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Its variables; those whose name is no text are left out.
    pub variables: BTreeMap<String, OsString>,
    /// The folder it was started in, absolute.
    pub folder: PathBuf,
    /// The number of the user it acts as.
    pub user_id: u32,
    /// The name of the machine.
    pub host: String,
}

impl Process {
    /// The process that this is.
    ///
    /// # Errors
    /// Where the current folder is gone, or may not be entered.
    pub fn current() -> std::io::Result<Self> {
        let variables = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Ok(Self {
            variables,
            folder: env::current_dir()?,
            user_id: rustix::process::geteuid().as_raw(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        })
    }

    /// The text of a variable; `None` where it is not set, empty, or no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.to_str().filter(|text| !text.is_empty())
    }

    /// The name of the user: who called `sudo`, else the user by his variables, else by the list of users, else his
    /// number.
    pub fn user(&self) -> String {
        let named = ["SUDO_USER", "LOGNAME", "USER"].iter().find_map(|name| self.text(name));
        named
            .map(ToOwned::to_owned)
            .or_else(|| user_name(self.user_id))
            .unwrap_or_else(|| format!("user {}", self.user_id))
    }
}

/// The name of a user in `/etc/passwd`: what is left in containers, where no variable names one.
fn user_name(user_id: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user_id)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Process {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        Process { variables, user_id: u32::MAX - 7, ..Process::default() }
    }

    #[test]
    fn who_it_is() {
        assert_eq!(with(&[("USER", "root"), ("SUDO_USER", "anna")]).user(), "anna");
        assert_eq!(with(&[("USER", "bob"), ("SUDO_USER", "")]).user(), "bob");
        assert_eq!(with(&[]).user(), format!("user {}", u32::MAX - 7));
        assert_eq!(user_name(0).as_deref(), Some("root"));
    }
}
