//! Reads gzip, member after member.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

use crate::ahead::Ahead;
use crate::whole_member::{Inflated, WholeMembers};

/// Reads gzip members one after the other. Those that tell their size, as mica's do, are inflated in one piece, which
/// is faster; what comes out is the same.
pub(crate) struct Gunzip<R> {
    state: State<R>,
    /// `None` once a member was not as long as it told: no other of the stream is taken at its word then, or every
    /// short member could make a long piece be looked through for nothing.
    whole: Option<WholeMembers>,
}

enum State<R> {
    /// Before a member.
    Before(Ahead<R>),
    /// In a member that is inflated bit by bit.
    Within(Box<GzDecoder<Ahead<R>>>),
    /// After a member.
    After(Ahead<R>),
    /// After the last one.
    End,
}

impl<R: BufRead> Gunzip<R> {
    /// Reads `input`, which begins with a member.
    pub(crate) fn new(input: R) -> Self {
        Self {
            state: State::Before(Ahead::new(input)),
            whole: Some(WholeMembers::default()),
        }
    }

    /// Enters the member that comes next, or goes past it having inflated it.
    fn enter(&mut self, input: &mut Ahead<R>) -> io::Result<bool> {
        let inflated = match &mut self.whole {
            Some(whole) => whole.inflate(input)?,
            None => Inflated::Untold,
        };
        if inflated == Inflated::Differs {
            self.whole = None;
        }
        Ok(inflated == Inflated::Whole)
    }

    /// Goes on from `state`, in which there is nothing to read, or is given it back with the error.
    fn advance(&mut self, state: State<R>) -> (State<R>, io::Result<()>) {
        match state {
            State::Before(mut input) => match self.enter(&mut input) {
                Ok(true) => (State::After(input), Ok(())),
                Ok(false) => (State::Within(Box::new(GzDecoder::new(input))), Ok(())),
                Err(error) => (State::Before(input), Err(error)),
            },
            State::Within(member) => (State::After(member.into_inner()), Ok(())),
            State::After(mut input) => match find_member(&mut input) {
                Ok(true) => (State::Before(input), Ok(())),
                Ok(false) => (State::End, Ok(())),
                Err(error) => (State::After(input), Err(error)),
            },
            State::End => (State::End, Ok(())),
        }
    }

    /// Reads what there is without going on to another member.
    fn read_here(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match (&mut self.state, &mut self.whole) {
            (State::Within(member), _) => member.read(buf),
            (_, Some(whole)) => Ok(whole.give(buf)),
            _ => Ok(0),
        }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.read_here(buf)?;
            if read > 0 || buf.is_empty() || matches!(self.state, State::End) {
                return Ok(read);
            }
            let state = std::mem::replace(&mut self.state, State::End);
            let (state, advanced) = self.advance(state);
            self.state = state;
            advanced?;
        }
    }
}

/// Goes to the next gzip member, if there is one: zeros before it are skipped. Anything else is read to its end.
fn find_member<R: BufRead>(input: &mut R) -> io::Result<bool> {
    let mut garbage = false;
    loop {
        let ready = match input.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        if ready.is_empty() {
            return Ok(false);
        }
        let zeros = ready.iter().take_while(|b| **b == 0).count();
        let skipped = match ready.get(zeros) {
            Some(0x1f) if !garbage => {
                input.consume(zeros);
                return Ok(true);
            }
            Some(_) => {
                garbage = true;
                ready.len()
            }
            None => zeros,
        };
        input.consume(skipped);
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use libdeflater::crc32;
    use proptest::prelude::*;

    use crate::blocks::BlockEncoder;
    use crate::gzip::GzipEncoder;
    use crate::member::{BLOCK, HEADER, header};

    use super::*;

    fn member(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzipEncoder::new().unwrap().encode(plain, &mut packed).unwrap();
        packed
    }

    /// A member that tells another size than it has, and may hold more than mica puts into one.
    fn lying(plain: &[u8], size: usize) -> Vec<u8> {
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut deflated, plain).unwrap();
        let mut packed = header(size as u32).to_vec();
        packed.extend(deflated.finish().unwrap());
        packed.extend(crc32(plain).to_le_bytes());
        packed.extend((plain.len() as u32).to_le_bytes());
        packed
    }

    fn read_all(mut gunzip: impl Read) -> (Vec<u8>, bool) {
        let mut plain = Vec::new();
        let read = gunzip.read_to_end(&mut plain);
        (plain, read.is_ok())
    }

    /// What is read, and whether to the end.
    fn gunzip(data: &[u8]) -> (Vec<u8>, bool) {
        read_all(Gunzip::new(BufReader::with_capacity(100, data)))
    }

    /// What is read if no member is taken at its word.
    fn gunzip_bit_by_bit(data: &[u8]) -> (Vec<u8>, bool) {
        let mut gunzip = Gunzip::new(data);
        gunzip.whole = None;
        read_all(gunzip)
    }

    /// Whether taking members at their word makes no difference. How much comes before an error depends on how much
    /// was read at once.
    fn is_seen_alike(data: &[u8]) -> bool {
        let ((plain, whole), (expected, expected_whole)) = (gunzip(data), gunzip_bit_by_bit(data));
        let common = if whole {
            usize::MAX
        } else {
            plain.len().min(expected.len())
        };
        whole == expected_whole && plain.iter().take(common).eq(expected.iter().take(common))
    }

    #[test]
    fn members_that_tell_their_size_are_inflated_in_one_piece() {
        let data = [member(b"one, "), member(b""), member(b"two")].concat();
        let mut gunzip = Gunzip::new(&data[..]);
        let mut plain = Vec::new();
        let mut buf = [0; 2];
        while let read @ 1.. = gunzip.read(&mut buf).unwrap() {
            assert!(!matches!(gunzip.state, State::Within(_)));
            plain.extend_from_slice(&buf[..read]);
        }
        assert_eq!(plain, b"one, two");
    }

    #[test]
    fn a_member_that_lies_hides_nothing_and_adds_nothing() {
        let (x, y) = (b"what is read first".repeat(9), b"and then this".repeat(9));
        let (first, second) = (member(&x), member(&y));
        let honest = lying(&x, 0).len();
        for size in [
            0,
            27,
            28,
            honest - 1,
            honest,
            honest + 1,
            honest + 8,
            u32::MAX as usize,
        ] {
            let data = [lying(&x, size), second.clone(), first.clone()].concat();
            assert_eq!(gunzip(&data), ([&x[..], &y, &x].concat(), true), "{size}");
        }
        // the size covers what follows, be it another member, one with the very same trailer, or anything at all
        for follows in [
            &second,
            &first,
            &b"anything".to_vec(),
            &first[first.len() - 8..].to_vec(),
        ] {
            let data = [lying(&x, honest + follows.len()), follows.clone()].concat();
            let (plain, whole) = gunzip(&data);
            assert_eq!((&plain, whole), (&gunzip_bit_by_bit(&data).0, true));
            assert_eq!(plain.len() > x.len(), follows[0] == 0x1f);
        }
    }

    #[test]
    fn what_holds_more_than_a_block_is_read_all_the_same() {
        let plain = vec![7; 5 * BLOCK];
        let data = lying(&plain, lying(&plain, 0).len());
        assert!(data.len() < BLOCK);
        assert_eq!(
            gunzip(&[&data[..], &member(b"x")].concat()).0.len(),
            plain.len() + 1
        );
    }

    #[test]
    fn only_the_first_lie_is_looked_into() {
        let data = [lying(b"x", 5000), member(&b"y".repeat(9000)), member(b"z")].concat();
        let mut gunzip = Gunzip::new(&data[..]);
        let mut byte = [0];
        gunzip.read_exact(&mut byte).unwrap();
        assert!(gunzip.whole.is_none());
        assert_eq!(read_all(gunzip).0.len(), 9001);
    }

    /// Fails once at every place that is asked of it.
    struct Stumbling<'a> {
        data: &'a [u8],
        places: Vec<usize>,
        at: usize,
    }

    impl Read for Stumbling<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.places.last() == Some(&self.at) {
                self.places.pop();
                return Err(io::Error::other("stumbled"));
            }
            let next = self
                .places
                .last()
                .unwrap_or(&self.data.len())
                .min(&self.data.len())
                .to_owned();
            let read = (&self.data[self.at..next]).read(buf)?;
            self.at += read;
            Ok(read)
        }
    }

    #[test]
    fn reading_goes_on_after_an_error_of_the_input() {
        let data = [
            &member(b"one, ")[..],
            &[0; 30],
            &member(b"two, "),
            &lying(b"three", 0),
        ]
        .concat();
        for step in 1..data.len() {
            let mut places: Vec<usize> = (0..data.len()).step_by(step).collect();
            places.reverse();
            let errors = places.len();
            let input = Stumbling {
                data: &data,
                places,
                at: 0,
            };
            let mut gunzip = Gunzip::new(BufReader::with_capacity(7, input));
            let mut plain = Vec::new();
            let failed = (0..=errors)
                .filter(|_| gunzip.read_to_end(&mut plain).is_err())
                .count();
            assert_eq!(
                (plain.as_slice(), failed),
                (&b"one, two, three"[..], errors),
                "{step}"
            );
        }
    }

    proptest! {
        #[test]
        fn damage_is_seen_as_without_sizes(
            plain in proptest::collection::vec(proptest::collection::vec(0_u8..9, 0..300), 1..4),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            header_changes in proptest::collection::vec((HEADER - 4..HEADER, any::<u8>()), 0..2),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut data: Vec<u8> = plain.iter().flat_map(|plain| member(plain)).collect();
            for (at, byte) in changes {
                let at = at.index(data.len());
                data[at] = byte;
            }
            for (at, byte) in header_changes {
                data[at] = byte;
            }
            prop_assert!(is_seen_alike(&data));
            data.truncate(cut.index(data.len()));
            prop_assert!(is_seen_alike(&data));
        }
    }
}
