//! The five codecs of record batches, with a bound on what comes out: a small batch must not unpack into all memory.
use bytes::{Buf, Bytes};
use std::io::{self, Read, Write};

/// The codec bits of a batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub fn of_bits(bits: i16) -> Option<Codec> {
        Some(match bits {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }
    pub fn bits(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }
    /// By the word in `compression.type`; None for `producer`, which means: as it came.
    pub fn of_setting(word: &str) -> Option<Codec> {
        Some(match word {
            "uncompressed" => Codec::None,
            "gzip" => Codec::Gzip,
            "snappy" => Codec::Snappy,
            "lz4" => Codec::Lz4,
            "zstd" => Codec::Zstd,
            _ => return None,
        })
    }

    /// At most `limit` bytes: more is an error, as is anything that is not this codec's format.
    pub fn decompress(self, packed: &Bytes, limit: usize) -> io::Result<Bytes> {
        match self {
            Codec::None => Ok(packed.clone()),
            Codec::Gzip => bounded(flate2::read::MultiGzDecoder::new(&packed[..]), limit),
            Codec::Snappy => unsnap(packed, limit),
            Codec::Lz4 => bounded(lz4::Decoder::new(&packed[..])?, limit),
            Codec::Zstd => bounded(zstd::stream::read::Decoder::new(&packed[..])?, limit),
        }
    }

    pub fn compress(self, plain: &[u8]) -> io::Result<Bytes> {
        Ok(match self {
            Codec::None => Bytes::copy_from_slice(plain),
            Codec::Gzip => {
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                to.write_all(plain)?;
                to.finish()?.into()
            }
            Codec::Snappy => snap(plain)?,
            Codec::Lz4 => {
                let mut to = lz4::EncoderBuilder::new()
                    .block_mode(lz4::BlockMode::Independent) // what Java's reader expects
                    .build(Vec::new())?;
                to.write_all(plain)?;
                let (packed, outcome) = to.finish();
                outcome?;
                packed.into()
            }
            Codec::Zstd => zstd::stream::encode_all(plain, 0)?.into(),
        })
    }
}

/// Of a kind of its own: a client can send less at a time, while garbage stays garbage.
fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the batch unpacks into more than is allowed")
}

fn bounded(from: impl Read, limit: usize) -> io::Result<Bytes> {
    let mut out = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut out)?;
    if out.len() > limit {
        return Err(too_large());
    }
    Ok(out.into())
}

/// The framing of Java's snappy streams: this, two version numbers, then blocks with their length in front.
const XERIAL: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
const XERIAL_BLOCK: usize = 32 * 1024;

fn unsnap(packed: &[u8], limit: usize) -> io::Result<Bytes> {
    if !packed.starts_with(XERIAL) {
        return unsnap_block(packed, limit).map(Bytes::from); // librdkafka and others write a bare block
    }
    let mut from = packed.get(XERIAL_HEADER_LEN..).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut out = Vec::new();
    while from.remaining() >= 4 {
        let len = from.get_u32() as usize;
        if len > from.remaining() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.extend_from_slice(&unsnap_block(&from[..len], limit - out.len())?);
        from.advance(len);
    }
    Ok(out.into())
}

fn unsnap_block(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    if snap::raw::decompress_len(packed)? > limit {
        return Err(too_large());
    }
    Ok(snap::raw::Decoder::new().decompress_vec(packed)?)
}

fn snap(plain: &[u8]) -> io::Result<Bytes> {
    let mut out = XERIAL.to_vec();
    out.extend_from_slice(&1u32.to_be_bytes());
    out.extend_from_slice(&1u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK) {
        let packed = encoder.compress_vec(block)?;
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_gives_back_what_it_got() {
        let plain: Vec<u8> = (0..200_000u32).map(|n| (n / 7) as u8).collect();
        for codec in ALL {
            assert_eq!(Codec::of_bits(codec.bits()), Some(codec));
            let packed = codec.compress(&plain).unwrap();
            assert_eq!(codec.decompress(&packed, plain.len()).unwrap(), plain, "{codec:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let plain = vec![0u8; 1 << 20];
        for codec in &ALL[1..] {
            let packed = codec.compress(&plain).unwrap();
            assert!(codec.decompress(&packed, 1 << 16).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for codec in &ALL[1..] {
            assert!(
                codec.decompress(&Bytes::from_static(b"\xff\xfe garbage \x00\x01"), 1 << 20).is_err(),
                "{codec:?}"
            );
        }
    }
}
