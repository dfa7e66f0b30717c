//! Encodes a stream block by block in several threads and writes the results in the order of the blocks.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use mica_oci::{Digest, Hasher};

use crate::error::Error;

/// How many blocks there are at once: two for a thread, so that none waits while the oldest is waited for, and some
/// to read, hash and write meanwhile.
const fn most_blocks(threads: usize) -> usize {
    2 * threads + 2
}

/// Encodes one block after the other; what comes out depends on the block alone.
pub(crate) trait BlockEncoder {
    /// Puts `plain`, encoded, into `packed`, which is empty.
    fn encode(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Result<(), Error>;
}

/// What went through.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The digest of what was read.
    pub(crate) digest: Digest,
    /// How many bytes were read.
    pub(crate) read: u64,
    /// How many bytes were written.
    pub(crate) written: u64,
}

/// Encodes `input` in blocks of `size` bytes, the last one shorter, with an encoder of its own for each of `threads`
/// threads; no input at all is one empty block. At most two blocks and two more are in memory for each thread, as
/// read and encoded. Input of one block, or for one thread, is encoded by the caller's.
pub(crate) fn encode_blocks<E: BlockEncoder>(
    input: &mut dyn Read,
    out: &mut dyn Write,
    size: usize,
    threads: usize,
    make: impl Fn() -> Result<E, Error> + Sync,
) -> Result<Passed, Error> {
    let first = Block::default().filled(input, size)?;
    let mut ends = Ends {
        input,
        out,
        size,
        read: 0,
        written: 0,
    };
    let digest = if threads > 1 && first.plain.len() == size {
        encode_together(&mut ends, first, threads, &make)?
    } else {
        encode_alone(&mut ends, first, &mut make()?)?
    };
    ends.out.flush().map_err(Error::io(WRITING))?;
    Ok(Passed {
        digest,
        read: ends.read,
        written: ends.written,
    })
}

const READING: &str = "reading what is to be compressed";
const WRITING: &str = "writing compressed data";

/// One block, as it was read and as it is written; its memory is used again.
#[derive(Default)]
struct Block {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Block {
    /// Reads the next block of `size` bytes, or what there is.
    fn filled(mut self, input: &mut dyn Read, size: usize) -> Result<Self, Error> {
        self.plain.clear();
        self.packed.clear();
        self.plain.reserve_exact(size);
        let read = input.take(size as u64).read_to_end(&mut self.plain);
        read.map_err(Error::io(READING))?;
        Ok(self)
    }
}

/// Where blocks come from and go to.
struct Ends<'a> {
    input: &'a mut dyn Read,
    out: &'a mut dyn Write,
    size: usize,
    read: u64,
    written: u64,
}

impl Ends<'_> {
    fn write(&mut self, block: &Block) -> Result<(), Error> {
        self.out.write_all(&block.packed).map_err(Error::io(WRITING))?;
        self.read += block.plain.len() as u64;
        self.written += block.packed.len() as u64;
        Ok(())
    }

    /// The next block, in the memory of `used`; `None` at the end.
    fn next(&mut self, used: Block) -> Result<Option<Block>, Error> {
        let block = used.filled(self.input, self.size)?;
        Ok((!block.plain.is_empty()).then_some(block))
    }
}

fn encode_alone(
    ends: &mut Ends<'_>,
    mut block: Block,
    encoder: &mut impl BlockEncoder,
) -> Result<Digest, Error> {
    let mut hasher = Hasher::new();
    loop {
        hasher.update(&block.plain);
        encoder.encode(&block.plain, &mut block.packed)?;
        ends.write(&block)?;
        block = match ends.next(block)? {
            Some(block) => block,
            None => return Ok(hasher.finish()),
        };
    }
}

/// A block on its way, and where it is waited for. Whoever drops it undone tells so by that.
struct Job {
    block: Block,
    done: Sender<Result<Block, Error>>,
}

/// Every block goes through the thread that hashes, then to whichever encoder is free.
fn encode_together<E: BlockEncoder>(
    ends: &mut Ends<'_>,
    first: Block,
    threads: usize,
    make: &(impl Fn() -> Result<E, Error> + Sync),
) -> Result<Digest, Error> {
    let (to_hash, from_reader) = channel();
    let (to_encode, hashed) = channel();
    let (hashed, stop) = (Mutex::new(hashed), AtomicBool::new(false));
    thread::scope(|scope| {
        // owned here, so that the threads come to their end whatever happens
        let to_hash = to_hash;
        let hash = start(scope, "layer-hash", || hash_blocks(from_reader, to_encode, &stop))?;
        let encoders = (0..threads)
            .map(|_| start(scope, "layer-encode", || encode_hashed(&hashed, &stop, make)))
            .collect::<Result<Vec<_>, Error>>()?;
        let passed = pass_blocks(ends, first, most_blocks(threads), &to_hash);
        stop.store(passed.is_err(), Ordering::Relaxed);
        drop(to_hash);
        let digest = hash.join();
        let panicked = encoders.into_iter().fold(digest.is_err(), |panicked, encoder| {
            encoder.join().is_err() | panicked
        });
        passed?;
        digest.ok().filter(|_| !panicked).ok_or_else(ended)
    })
}

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    let started = thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work);
    started.map_err(Error::io("starting a thread that compresses"))
}

/// Reads all blocks, gives them away, and writes what comes back in the order in which they went.
fn pass_blocks(ends: &mut Ends<'_>, first: Block, most: usize, to_hash: &Sender<Job>) -> Result<(), Error> {
    let mut under_way = VecDeque::with_capacity(most);
    let mut next = Some(first);
    while let Some(block) = next {
        let (done, back) = channel();
        to_hash.send(Job { block, done }).map_err(|_| ended())?;
        under_way.push_back(back);
        let used = match under_way.len() < most {
            true => Block::default(),
            false => write_oldest(ends, &mut under_way)?.unwrap_or_default(),
        };
        next = ends.next(used)?;
    }
    while write_oldest(ends, &mut under_way)?.is_some() {}
    Ok(())
}

/// Waits for the block that went first, writes it and gives it back.
fn write_oldest(
    ends: &mut Ends<'_>,
    under_way: &mut VecDeque<Receiver<Result<Block, Error>>>,
) -> Result<Option<Block>, Error> {
    let Some(oldest) = under_way.pop_front() else {
        return Ok(None);
    };
    let block = oldest.recv().map_err(|_| ended())??;
    ends.write(&block)?;
    Ok(Some(block))
}

fn hash_blocks(from_reader: Receiver<Job>, to_encode: Sender<Job>, stop: &AtomicBool) -> Digest {
    let mut hasher = Hasher::new();
    for job in from_reader {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        hasher.update(&job.block.plain);
        if to_encode.send(job).is_err() {
            break;
        }
    }
    hasher.finish()
}

fn encode_hashed<E: BlockEncoder>(
    hashed: &Mutex<Receiver<Job>>,
    stop: &AtomicBool,
    make: &impl Fn() -> Result<E, Error>,
) {
    let mut encoder = None;
    // the lock is held to wait for a block, not to encode it
    let next = || hashed.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(Job { mut block, done }) = next() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let encoded = encode_with(&mut encoder, make, &mut block);
        // nobody listens any more where another block failed
        done.send(encoded.map(|()| block)).ok();
    }
}

/// Makes the encoder for the first block it is needed for: short input does not need them all.
fn encode_with<E: BlockEncoder>(
    encoder: &mut Option<E>,
    make: &impl Fn() -> Result<E, Error>,
    block: &mut Block,
) -> Result<(), Error> {
    let encoder = match encoder {
        Some(encoder) => encoder,
        None => encoder.insert(make()?),
    };
    encoder.encode(&block.plain, &mut block.packed)
}

fn ended() -> Error {
    Error::io("compressing")(io::Error::other("a thread that compresses ended too early"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    const SIZE: usize = 8;

    /// Writes every block after its length; slowly where it begins with 1, not at all with 2, and panics with 3.
    struct Framing;

    impl BlockEncoder for Framing {
        fn encode(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Result<(), Error> {
            match plain.first() {
                Some(1) => thread::sleep(Duration::from_millis(3)),
                Some(2) => return Err(Error::Compression("told to".to_owned())),
                Some(3) => panic!("told to"),
                _ => {}
            }
            packed.push(plain.len() as u8);
            packed.extend_from_slice(plain);
            Ok(())
        }
    }

    fn encode(mut input: &[u8], threads: usize) -> (Result<Passed, Error>, Vec<u8>) {
        let mut out = Vec::new();
        let passed = encode_blocks(&mut input, &mut out, SIZE, threads, || Ok(Framing));
        (passed, out)
    }

    fn framed(input: &[u8]) -> Vec<u8> {
        let frame = |block: &[u8]| [&[block.len() as u8], block].concat();
        input.chunks(SIZE).flat_map(frame).collect()
    }

    #[test]
    fn the_order_is_that_of_the_input_whatever_is_done_first() {
        let input: Vec<u8> = (0..997_u32).map(|at| (at * at % 7 % 2) as u8).collect();
        for threads in [1, 2, 3, 16] {
            for input in [&input[..], &input[..SIZE], &input[..3 * SIZE], &input[..SIZE + 1]] {
                let (passed, out) = encode(input, threads);
                let expected = Passed {
                    digest: Digest::of(input),
                    read: input.len() as u64,
                    written: out.len() as u64,
                };
                assert_eq!((passed.unwrap(), out), (expected, framed(input)));
            }
        }
        assert_eq!(encode(b"", 4).1, [0]);
    }

    #[test]
    fn an_encoder_that_fails_or_panics_is_an_error_after_what_came_before() {
        for (bad, told) in [(2, "told to"), (3, "compressing")] {
            for threads in [2, 3, 16] {
                let mut input = vec![0; 100 * SIZE];
                input[40 * SIZE] = bad;
                let (passed, out) = encode(&input, threads);
                assert!(passed.unwrap_err().to_string().contains(told));
                assert_eq!(out, framed(&input[..40 * SIZE]));
                assert!(encode(&vec![bad; 100 * SIZE], threads).0.is_err());
            }
        }
    }

    #[test]
    fn an_encoder_that_cannot_be_made_is_an_error() {
        let cannot = || Err::<Framing, _>(Error::Compression("cannot".to_owned()));
        for threads in [1, 5] {
            let passed = encode_blocks(&mut &[0; 100][..], &mut Vec::new(), SIZE, threads, cannot);
            assert_eq!(passed.unwrap_err().to_string(), "invalid compressed data: cannot");
        }
    }

    /// Counts the blocks that are read and not written yet, and the most that there ever were.
    #[derive(Default)]
    struct UnderWay {
        read: AtomicUsize,
        written: AtomicUsize,
        most: AtomicUsize,
    }

    struct Counted<'a>(&'a UnderWay, usize);

    impl Read for Counted<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read.fetch_add(1, Ordering::Relaxed) + 1;
            let under_way = read - self.0.written.load(Ordering::Relaxed);
            self.0.most.fetch_max(under_way, Ordering::Relaxed);
            match read > self.1 {
                true => Err(io::Error::other("enough")),
                false => io::repeat(1).read(buf),
            }
        }
    }

    impl Write for Counted<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.written.fetch_add(1, Ordering::Relaxed);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn few_blocks_are_under_way_and_none_is_read_after_a_failure() {
        for threads in [1, 2, 7] {
            let under_way = UnderWay::default();
            let (mut input, mut out) = (Counted(&under_way, 200), Counted(&under_way, 0));
            let passed = encode_blocks(&mut input, &mut out, SIZE, threads, || Ok(Framing));
            assert_eq!(passed.unwrap_err().to_string(), READING);
            assert_eq!(under_way.read.into_inner(), 201);
            assert!(under_way.most.into_inner() <= most_blocks(threads));
            let written = under_way.written.into_inner();
            assert!(written >= 200 - most_blocks(threads), "{written}");
        }
    }
}
