//! LaunchDarkly's flag file as a document: an object with `flags`, `flagValues` and `segments`, as the SDKs' file data
//! source and flag overrides read it (go-server-sdk `ldfiledata`). Pure. Only the values of flags that are asked to
//! change do; every other byte stays.

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::flag::key::FlagKey;
use crate::flag::record::Record;

/// A flag file that was read.
pub(super) struct Document {
    whole: Record,
    flags: Option<Record>,
    values: Option<Record>,
    segments: Option<Record>,
}

impl Document {
    /// Reads a flag file.
    ///
    /// # Errors
    /// In words: YAML, no JSON object, a key twice, a section that is no object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'{') {
            // How the SDKs tell the two formats apart.
            return Err("it is not JSON; YAML flag files cannot be edited here: convert it to JSON".to_owned());
        }
        let whole = Record::parse(bytes).map_err(|error| error.to_string())?;
        let section = |name: &str| match whole.raw(name) {
            None | Some("null") => Ok(None),
            Some(raw) => match Record::parse(raw.as_bytes()) {
                Ok(section) => Ok(Some(section)),
                Err(error) => Err(format!("its \"{name}\" is {error}")),
            },
        };
        let (flags, values, segments) = (section("flags")?, section("flagValues")?, section("segments")?);
        Ok(Self { whole, flags, values, segments })
    }

    /// The exact text of a flag's record.
    pub(super) fn flag(&self, flag: &FlagKey) -> Option<&str> {
        self.flags.as_ref()?.raw(flag.as_str())
    }

    /// Whether a flag stands under `flagValues`: served as that value to everybody, with no record to edit.
    pub(super) fn is_constant(&self, flag: &FlagKey) -> bool {
        self.values.as_ref().is_some_and(|values| values.raw(flag.as_str()).is_some())
    }

    /// All names and texts under `flags`.
    pub(super) fn flags(&self) -> Vec<(String, &str)> {
        members(self.flags.as_ref())
    }

    /// All names under `flagValues`.
    pub(super) fn constants(&self) -> Vec<String> {
        members(self.values.as_ref()).into_iter().map(|(name, _)| name).collect()
    }

    /// All names and texts under `segments`.
    pub(super) fn segments(&self) -> Vec<(String, &str)> {
        members(self.segments.as_ref())
    }

    /// The document with these flags' records in place of theirs (or added, where there was none).
    pub(super) fn with(&self, records: &[(&FlagKey, &Record)]) -> String {
        let replaced: Vec<(&str, String)> =
            records.iter().map(|(flag, record)| (flag.as_str(), record.text().to_owned())).collect();
        let flags = match &self.flags {
            Some(flags) => flags.with(&replaced).text().to_owned(),
            None => {
                let members: Vec<String> = replaced.iter().map(|(flag, text)| format!("\"{flag}\":{text}")).collect();
                format!("{{{}}}", members.join(","))
            }
        };
        self.whole.with(&[("flags", flags)]).text().to_owned()
    }
}

fn members(section: Option<&Record>) -> Vec<(String, &str)> {
    let Some(section) = section else { return Vec::new() };
    // That it is an object without a key twice was found when the section was read.
    let members: IndexMap<String, &RawValue> = serde_json::from_str(section.text()).unwrap_or_default();
    members.into_iter().map(|(name, value)| (name, value.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::flag::record::Record;

    const FILE: &str = "{ \"$schema\": \"x\",\n  \"flagValues\" : {\"fixed\": true },\n  \"flags\": {\n    \"a\": {\"on\": true, \"big\": 12345678901234567890123},\n    \"b\" : { \"on\":false }\n  },\n  \"segments\": {\"s\": {\"key\": \"s\"}}\n}\n";

    #[test]
    fn only_the_value_that_is_asked_for_changes() {
        let document = Document::parse(FILE.as_bytes()).unwrap();
        let flag = "b".parse().unwrap();
        let after = Record::parse(b"{ \"on\":true }").unwrap();
        assert_eq!(document.with(&[(&flag, &after)]), FILE.replace("{ \"on\":false }", "{ \"on\":true }"));
        let same = Record::parse(document.flag(&flag).unwrap().as_bytes()).unwrap();
        assert_eq!(document.with(&[(&flag, &same)]), FILE);
    }

    #[test]
    fn a_flag_is_added_where_there_was_none() {
        let (flag, record) = ("new".parse().unwrap(), Record::parse(b"{\"on\":true}").unwrap());
        for file in ["{}", "{\"flags\":{}}", "{\"flags\":null}", "{\"segments\":{}}", FILE] {
            let written = Document::parse(file.as_bytes()).unwrap().with(&[(&flag, &record)]);
            let read = Document::parse(written.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(read.flag(&flag), Some("{\"on\":true}"), "{file}");
        }
    }

    #[test]
    fn what_is_no_flag_file_is_refused_in_words() {
        let refused = |text: &str| Document::parse(text.as_bytes()).map(|_| ()).unwrap_err();
        assert!(refused("flags:\n  a: {}\n").contains("YAML"));
        assert!(refused("").contains("not JSON"));
        assert!(refused("{\"flags\":[]}").contains("\"flags\""));
        assert!(refused("{\"flags\":{\"a\":1,\"a\":2}}").contains("twice"));
    }

    #[test]
    fn constants_are_told_apart() {
        let document = Document::parse(FILE.as_bytes()).unwrap();
        assert!(document.is_constant(&"fixed".parse().unwrap()));
        assert!(!document.is_constant(&"a".parse().unwrap()));
        assert_eq!(document.constants(), ["fixed"]);
        assert_eq!(document.flags().len(), 2);
        assert_eq!(document.segments(), [("s".to_owned(), "{\"key\": \"s\"}")]);
    }
}
