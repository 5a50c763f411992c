//! How `drover dlq` speaks to a person. What producers wrote is shown without control characters: a terminal would obey
//! them.

use std::io::{Result, Write};

use crate::dlq::{Bytes, Cut, Found, Left, Letter, Listing, Place, Purged, Redrive, Redriven};
use crate::wire::time;

/// Longest reason in a row, in characters.
const REASON: usize = 80;

pub fn head(out: &mut dyn Write) -> Result<()> {
    line(out, ["LETTER", "ENDED", "COMMAND", "ROUTE", "ENDED BY", "TRIES", "ORIGIN", "REASON"])
}

pub fn row(out: &mut dyn Write, it: &Found) -> Result<()> {
    let letter = &it.letter;
    let origin = format!("{}[{}]@{}", letter.origin.topic, letter.origin.partition, letter.origin.offset);
    let reason: String = letter.reason.chars().take(REASON).collect();
    let or_dash = |it: &Option<String>| it.clone().unwrap_or_else(|| "-".to_owned());
    let cells = [
        letter.place(),
        time::text(letter.ended_ms),
        or_dash(&letter.command),
        or_dash(&letter.route),
        format!("{}/{}", letter.stage, letter.code),
        letter.attempts.to_string(),
        origin,
        reason,
    ];
    line(out, cells.each_ref().map(|it| it.as_str()))
}

fn line(out: &mut dyn Write, cells: [&str; 8]) -> Result<()> {
    let [place, ended, command, route, by, tries, origin, reason] = cells.map(plain);
    writeln!(
        out,
        "{place:<10}  {ended:<24}  {command:<16}  {route:<20}  {by:<18}  {tries:>5}  {origin:<20}  {reason}"
    )
}

pub fn foot(out: &mut dyn Write, place: &Place, listing: &Listing) -> Result<()> {
    let Listing { shown, more, others } = *listing;
    let of = format!("of group {} in {}", place.group, place.topic);
    let letters = |count| counted(count, "dead letter");
    match more {
        0 => writeln!(out, "{} {of}", letters(shown))?,
        _ => writeln!(
            out,
            "{shown} of {} {of}; {more} more: raise --limit, or narrow it down",
            letters(shown + more)
        )?,
    }
    if 0 < others {
        let is = if others == 1 { "is no dead letter" } else { "are no dead letters" };
        writeln!(out, "{} there {is} of this group", counted(others, "record"))?;
    }
    Ok(())
}

pub fn letter(out: &mut dyn Write, it: &Letter<'_>) -> Result<()> {
    let head = &it.headline;
    writeln!(out, "letter   {}:{}", head.partition, head.offset)?;
    let origin = format!("{}[{}]@{}", head.origin_topic, head.origin_partition, head.origin_offset);
    writeln!(out, "origin   {}", plain(&origin))?;
    writeln!(
        out,
        "ended    {} at {}/{} after {} attempts",
        time::text(head.ended_ms),
        plain(head.stage),
        plain(head.code),
        head.attempts
    )?;
    writeln!(out, "reason   {}", plain(head.reason))?;
    writeln!(out, "headers  {}", it.headers.len())?;
    for header in &it.headers {
        writeln!(out, "  {}: {}", plain(&header.name), bytes(header.value.as_ref()))?;
    }
    writeln!(out, "key      {}", bytes(head.key.as_ref()))?;
    let (Some(value), Some(length)) = (&it.value, head.value_bytes) else {
        return writeln!(out, "value    none");
    };
    let (shown, form) = match value {
        Bytes::Text(text) => (text.len(), "text"),
        Bytes::Hex(text) => (text.len() / 2, "hex"),
    };
    let rest = if shown < length { format!(", the first {shown}: --whole shows all") } else { String::new() };
    writeln!(out, "value    {length} bytes as {form}{rest}")?;
    match value {
        // A value may have lines.
        Bytes::Text(text) => text.lines().try_for_each(|it| writeln!(out, "{}", plain(it))),
        Bytes::Hex(text) => writeln!(out, "{text}"),
    }
}

pub fn purge(out: &mut dyn Write, place: &Place, cuts: &[Cut], done: Option<&[Purged]>) -> Result<()> {
    let topic = &place.topic;
    let verb = if done.is_some() { "told to go" } else { "to be deleted" };
    for cut in cuts {
        let others = if 0 < cut.others {
            format!(" and {}", counted(cut.others, "other record"))
        } else {
            String::new()
        };
        writeln!(
            out,
            "{topic}[{}]: {}{others} {verb}, before offset {}",
            cut.partition,
            counted(cut.letters, "letter"),
            cut.before
        )?;
        if 0 < cut.behind {
            let behind = cut.behind;
            writeln!(
                out,
                "{topic}[{}]: {behind} old enough, but behind a younger one: that stays",
                cut.partition
            )?;
        }
    }
    let letters = counted(cuts.iter().map(|it| it.letters).sum(), "letter");
    let Some(done) = done else {
        return writeln!(out, "would delete {letters}; nothing was done: --yes does it");
    };
    for it in done {
        match (&it.error, it.first) {
            (Some(error), _) => writeln!(out, "{topic}[{}]: not deleted: {error}", it.partition)?,
            (None, first) => {
                writeln!(out, "{topic}[{}]: begins at {} now", it.partition, first.unwrap_or(0))?
            }
        }
    }
    let failed = done.iter().filter(|it| it.error.is_some()).count();
    match failed {
        0 => writeln!(out, "deleted {letters}"),
        _ => writeln!(
            out,
            "not done in {}: the errors say why; run it again when that is mended",
            counted(failed as u64, "partition")
        ),
    }
}

pub fn redrive(out: &mut dyn Write, place: &Place, wish: &Redrive, it: &Redriven, done: bool) -> Result<()> {
    let topic = &place.topic;
    let verb = if done { "sent again" } else { "to be sent again" };
    for (partition, part) in &it.partitions {
        let (letters, first, last, next) = (part.letters, part.first, part.last, part.next);
        write!(
            out,
            "{topic}[{partition}]: {} {verb}, offsets {first} to {last}",
            counted(letters, "letter")
        )?;
        match done {
            true => writeln!(out, "; go on with --partition {partition} --from-offset {next}")?,
            false => writeln!(out)?,
        }
    }
    let looped = format!(
        "sent again {} times already: mend what kills it, or raise --max-redrives",
        wish.max_redrives
    );
    left(out, &it.looped, &looped)?;
    left(out, &it.cut, "not whole: send the original again from its topic, `dlq show` says where it stands")?;
    if let Some(stopped) = &it.stopped {
        writeln!(out, "ended early: {stopped}")?;
    }
    if done {
        writeln!(
            out,
            "sent {} again; letters stay in {topic}, and running this again sends them again",
            counted(it.letters, "letter")
        )
    } else {
        let seconds = it.letters.div_ceil(u64::from(wish.rate));
        writeln!(
            out,
            "would send {} again, in about {seconds} s; nothing was done: --yes does it",
            counted(it.letters, "letter")
        )
    }
}

fn left(out: &mut dyn Write, left: &Left, why: &str) -> Result<()> {
    if left.letters == 0 {
        return Ok(());
    }
    let more = if (left.first.len() as u64) < left.letters { ", …" } else { "" };
    writeln!(out, "{} left out, {why} ({}{more})", left.letters, left.first.join(", "))
}

fn bytes(it: Option<&Bytes>) -> String {
    match it {
        None => "none".to_owned(),
        Some(Bytes::Text(text)) => plain(text),
        Some(Bytes::Hex(text)) => format!("0x{text}"),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Control characters written out, as `\n` or `\u{1b}`.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for it in text.chars() {
        if it.is_control() { shown.extend(it.escape_default()) } else { shown.push(it) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S88: what a producer wrote does not steer the operator's terminal.
    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\tä\u{9b}"), "a\\u{1b}[2Jb\\nc\\tä\\u{9b}");
    }
}
