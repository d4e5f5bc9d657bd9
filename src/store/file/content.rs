//! What the two files of a store hold, as the questions of a [`crate::store::Store`] want it. Pure.

use std::collections::BTreeMap;

use crate::change::id::ChangeId;
use crate::flag::key::FlagKey;
use crate::store::FlagReading;
use crate::store::Reading;
use crate::store::StoredOverride;
use crate::store::file::beside::Beside;
use crate::store::file::document::Document;
use crate::store::following::Moment;
use crate::store::following::Whole;

/// What the two files hold.
pub(super) struct Content {
    pub(super) document: Document,
    pub(super) beside: Beside,
}

impl Content {
    pub(super) fn head(&self) -> Reading {
        let count = self.document.flags().len() + self.document.constants().len();
        Reading { initialised: true, flag_count: count as u64, own_keys: true, ..Reading::default() }
    }

    pub(super) fn flag(&self, flag: &FlagKey) -> FlagReading {
        FlagReading {
            record: self.document.flag(flag).map(|text| text.as_bytes().to_vec()),
            override_: self.beside.override_of(flag).map(|text| StoredOverride::read(text.to_owned())),
            marks: None,
        }
    }

    pub(super) fn overrides(&self) -> BTreeMap<FlagKey, StoredOverride> {
        let read = |(flag, text): (&FlagKey, &str)| (flag.clone(), StoredOverride::read(text.to_owned()));
        self.beside.overrides().map(read).collect()
    }

    pub(super) fn moment(&self, flags: &[FlagKey], marks: &[(ChangeId, FlagKey)]) -> Moment {
        let mut reading = self.head();
        for flag in flags {
            let standing = |(change, of): &&(ChangeId, FlagKey)| of == flag && self.beside.ended(*change).is_some();
            let of_change = |(change, _): &(ChangeId, FlagKey)| {
                let marks = self.beside.ended(*change).into_iter().flatten();
                marks.filter(|mark| mark.flag == *flag).map(|mark| (*change, mark.clone())).collect::<Vec<_>>()
            };
            let marks = marks.iter().filter(standing).flat_map(of_change).collect();
            reading.flags.insert(flag.clone(), FlagReading { marks: Some(marks), ..self.flag(flag) });
        }
        Moment { reading, override_count: self.beside.overrides().count() as u64 }
    }

    pub(super) fn whole(&self) -> Whole {
        let owned = |(name, text): (String, &str)| (name, text.as_bytes().to_vec());
        Whole {
            initialised: true,
            flags: self.document.flags().into_iter().map(owned).collect(),
            segments: self.document.segments().into_iter().map(owned).collect(),
            overrides: self.overrides(),
            strange: self.document.constants().into_iter().map(|name| format!("flagValues/{name}")).collect(),
        }
    }

    pub(super) fn everything(&self) -> Reading {
        let mut reading = self.head();
        for (name, _) in self.document.flags() {
            match name.parse::<FlagKey>() {
                Ok(flag) => {
                    let found = self.flag(&flag);
                    reading.flags.insert(flag, found);
                }
                Err(_) => reading.strange_fields.push(name),
            }
        }
        let constants = self.document.constants().into_iter().map(|name| format!("flagValues/{name}"));
        reading.strange_fields.extend(constants);
        for (flag, override_) in self.overrides() {
            reading.flags.entry(flag).or_default().override_ = Some(override_);
        }
        reading
    }
}
