//! Retention: segments that are too old, or too much, go.
use crate::log::Log;
use crate::segment::Segment;
use crate::settings::Settings;
use std::io;

impl Log {
    /// Rolls and deletes what is due.
    pub fn tidy(&mut self, settings: &Settings, now_ms: i64) -> io::Result<()> {
        if self
            .segments
            .back()
            .is_some_and(|active| active.size > 0 && now_ms - active.since_ms >= settings.segment_ms)
        {
            self.roll(now_ms)?;
        }
        if settings.delete {
            self.retain(settings, now_ms)?;
        }
        if settings.compact {
            self.compact(settings, now_ms)?;
        }
        Ok(())
    }

    fn retain(&mut self, settings: &Settings, now_ms: i64) -> io::Result<()> {
        // By the later of its records' clock and ours: what was just written stays for the time it was promised,
        // however old its timestamps are. (Kafka goes by the records' alone, but looks every five minutes only.)
        let old = |segment: &Segment| {
            let last = segment.max_timestamp.max(segment.written_ms);
            settings.retention_ms >= 0 && last < now_ms.saturating_sub(settings.retention_ms)
        };
        // a segment that is still written to can be old as a whole, too
        if self.segments.back().is_some_and(|active| active.size > 0 && old(active)) {
            self.roll(now_ms)?;
        }
        let mut size = self.size();
        let mut first_kept = 0;
        for segment in self.segments.iter().take(self.segments.len().saturating_sub(1)) {
            let too_much =
                settings.retention_bytes >= 0 && size - segment.size >= settings.retention_bytes as u64;
            if !too_much && !old(segment) {
                break;
            }
            size -= segment.size;
            first_kept += 1;
        }
        if first_kept > 0 {
            let offset = self.segments[first_kept].base_offset;
            self.truncate_before(offset);
        }
        Ok(())
    }
}
