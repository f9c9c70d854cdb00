//! From a text in which pieces were replaced back to the text as it was written.

use super::node::Span;

/// Which stretch of the result came from which stretch of the source.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    /// Replaced pieces in the order they stand: `(in the result, in the source)`.
    pieces: Vec<(Span, Span)>,
}

impl SourceMap {
    /// Adds a replaced piece, behind all that were added before.
    pub fn push(&mut self, result: Span, source: Span) {
        self.pieces.push((result, source));
    }

    /// The place in the source of a place in the result. What lies in a replaced piece maps to the whole of it.
    pub fn to_source(&self, span: Span) -> Span {
        Span::new(self.offset(span.start, false), self.offset(span.end, true))
    }

    fn offset(&self, offset: usize, is_end: bool) -> usize {
        let passed = self.pieces.partition_point(
            |(result, _)| {
                if is_end { result.start < offset } else { result.start <= offset }
            },
        );
        let Some((result, source)) = passed.checked_sub(1).and_then(|index| self.pieces.get(index)) else {
            return offset;
        };
        if offset < result.end || (is_end && offset == result.end) {
            if is_end { source.end } else { source.start }
        } else {
            source.end + (offset - result.end)
        }
    }
}
