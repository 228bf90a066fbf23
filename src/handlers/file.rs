//! Writes alerts as lines to a rotating file. `telemetry::rotate` describes its durability.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task;

use super::console;
use crate::alert::{BoxFuture, DeliveryError, Handler, Retry};
use crate::config::FileFormat;
use crate::error::{Code, Error};
use crate::telemetry::rotate::RotatingFile;
use crate::types::{Alert, Clock, Period, one_line};

/// The names of a CSV file's columns.
const COLUMNS: &str = "id,time,level,source,rule,key,message,suppressed,seq,pts_ns,detections,digest,tags";

/// Appends one line per alert.
pub struct AlertFile {
    name: Arc<str>,
    path: PathBuf,
    format: FileFormat,
    clock: Arc<dyn Clock>,
    lines: Arc<Mutex<Lines>>,
}

/// The open file.
struct Lines {
    file: RotatingFile,
    /// It ends in what the next line must not follow: another format, or half a line of CSV, whose open quote would
    /// take in what follows. Set aside by the first delivery, so that a change that is not applied changes nothing.
    foreign: bool,
}

impl AlertFile {
    /// Opens the file now, so that a wrong path shows at startup and not with the first alert. It rotates when it would
    /// grow past `max_bytes`, and after each period of `every`, of which `clock` says the time.
    ///
    /// # Errors
    /// [`Code::Handler`] when it cannot be written.
    pub fn open(
        name: Arc<str>,
        path: &Path,
        (max_bytes, backups, every): (u64, u32, Option<Period>),
        format: FileFormat,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let foreign = is_foreign(path, format);
        let file = RotatingFile::open(path, max_bytes, backups).map_err(|error| {
            Error::new(Code::Handler, format!("handler {name}: {} cannot be written: {error}", path.display()))
                .hint("set its log_file to a file in a folder that this user may write")
        })?;
        let file = file.every(every);
        let file = if format == FileFormat::Csv { file.with_header(COLUMNS) } else { file };
        let lines = Arc::new(Mutex::new(Lines { file, foreign }));
        Ok(Self { name, path: path.to_owned(), format, clock, lines })
    }
}

/// Whether lines of `format` must not follow what is in the file. What cannot be read is left to its opening.
fn is_foreign(path: &Path, format: FileFormat) -> bool {
    // A pipe would wait for its writer.
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    is_file
        && read_ends(path).is_ok_and(|(first, last)| match format {
            FileFormat::Csv => first != format!("{COLUMNS}\n").as_bytes() || last != b'\n',
            FileFormat::Json => first[0] != b'{',
            FileFormat::Text => first[0] == b'{' || first == format!("{COLUMNS}\n").as_bytes(),
        })
}

/// The first bytes of a file, as many as the names of the columns are, and its last one. The file is not empty.
fn read_ends(path: &Path) -> io::Result<(Vec<u8>, u8)> {
    let mut file = File::open(path)?;
    let (mut first, mut last) = (Vec::new(), [0]);
    file.by_ref().take(COLUMNS.len() as u64 + 1).read_to_end(&mut first)?;
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if first.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((first, last[0])) }
}

/// An alert as a line of `format`, without its end.
fn line(alert: &Alert, format: FileFormat) -> serde_json::Result<Vec<u8>> {
    Ok(match format {
        FileFormat::Json => serde_json::to_vec(alert)?,
        FileFormat::Text => console::line(alert, false).trim_end_matches('\n').into(),
        FileFormat::Csv => {
            let Alert { id, level, rule, source, key, time, pts_ns, seq, message, .. } = alert;
            let Alert { detections, suppressed, digest, tags, .. } = alert;
            let tags = tags.join(" ");
            let detections = serde_json::to_string(detections)?;
            let digest = digest.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default();
            let (suppressed, seq, pts_ns) = (suppressed.to_string(), seq.to_string(), pts_ns.to_string());
            // In the order of the columns.
            let cells = [
                id.as_str(),
                time,
                level.as_str(),
                source.as_str(),
                rule,
                key,
                message,
                &suppressed,
                &seq,
                &pts_ns,
                &detections,
                &digest,
                &tags,
            ];
            cells.map(cell).join(",").into_bytes()
        }
    })
}

/// A text as a CSV cell of one line, so that each line of the file is an alert.
fn cell(text: &str) -> Cow<'_, str> {
    let text = one_line(text);
    match text.contains([',', '"', ' ']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text,
    }
}

impl Handler for AlertFile {
    fn name(&self) -> &str {
        &self.name
    }

    /// A write in progress cannot be cancelled.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let failed = |error: &dyn std::fmt::Display, retry| {
                Err(DeliveryError { message: format!("{}: {error}", self.path.display()), retry })
            };
            let record = match line(alert, self.format) {
                Ok(record) => record,
                Err(error) => return failed(&error, Retry::Never),
            };
            let (lines, now_s) = (self.lines.clone(), self.clock.unix_ns() / 1_000_000_000);
            // The disk may block: not on a runtime thread.
            let written = task::spawn_blocking(move || {
                // A panic leaves at worst a torn line, which the next open repairs.
                let mut lines = lines.lock();
                if lines.foreign {
                    lines.file.set_aside()?;
                    lines.foreign = false;
                }
                lines.file.append_at(&record, now_s)
            });
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => failed(&error, Retry::Later),
                Err(error) => failed(&error, Retry::Later),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BBox, Detection};

    fn alert() -> Alert {
        Alert {
            rule: "a \"rule\", here".into(),
            key: String::new(),
            pts_ns: 5,
            seq: 7,
            detections: vec![Detection::new("person", 0, 0.5, BBox { x: 0.0, y: 0.0, width: 0.5, height: 0.5 })],
            suppressed: 3,
            ..Alert::sample("two\nlines, \"quoted\"\r")
        }
    }

    #[test]
    fn a_line_of_csv_has_a_cell_for_each_column_whatever_an_alert_holds() {
        let line = String::from_utf8(line(&alert(), FileFormat::Csv).unwrap()).unwrap();
        let id = alert().id;
        let head = format!("{id},2026-01-01T00:00:00.000Z,high,gate,\"a \"\"rule\"\", here\",,");
        let rest = line.strip_prefix(&head).unwrap_or_else(|| panic!("{line}"));
        let rest = rest.strip_prefix("\"two⏎lines, \"\"quoted\"\" \",3,7,5,").unwrap_or_else(|| panic!("{rest}"));
        let cell = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix("\",,")).unwrap().replace("\"\"", "\"");
        assert_eq!(serde_json::from_str::<Vec<Detection>>(&cell).unwrap(), alert().detections);
        assert!(!line.contains(['\n', '\r']));
        // As many cells as columns: commas outside of quotes.
        let commas = line.split('"').step_by(2).map(|text| text.matches(',').count()).sum::<usize>();
        assert_eq!(commas, COLUMNS.matches(',').count());
    }

    #[test]
    fn a_line_of_text_is_the_consoles_without_colour() {
        let line = String::from_utf8(line(&alert(), FileFormat::Text).unwrap()).unwrap();
        let expected = "2026-01-01T00:00:00.000Z HIGH     gate a \"rule\", here: two⏎lines, \"quoted\"  (+3 held back)";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_another_format_has_written_is_foreign_and_a_torn_line_is_to_csv() {
        use FileFormat::{Csv, Json, Text};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        assert!(!is_foreign(&path, Json) && !is_foreign(folder.path(), Json), "there is none");
        let csv = format!("{COLUMNS}\n1,2\n");
        for (text, foreign_to) in [
            ("", [].as_slice()),
            ("{\"id\":1}\n", &[Csv, Text]),
            ("{\"id\":1", &[Csv, Text]),
            ("2026 HIGH a b\n", &[Csv, Json]),
            (&*csv, &[Json, Text]),
            (csv.trim_end(), &[Csv, Json, Text]),
            (COLUMNS, &[Csv, Json]),
        ] {
            std::fs::write(&path, text).unwrap();
            for format in [Csv, Json, Text] {
                assert_eq!(is_foreign(&path, format), foreign_to.contains(&format), "{text:?} {format:?}");
            }
        }
    }
}
