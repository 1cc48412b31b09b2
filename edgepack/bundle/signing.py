"""Who vouches for a bundle: an Ed25519 signature over the manifest, and so over every digest.

Digests say that a bundle is undamaged; only a signature says who made it.
"""

from __future__ import annotations

from edgepack.errors import InputError


def sign(manifest: bytes, private_pem: bytes, where: str) -> bytes:
    """Return the 64-byte Ed25519 signature (RFC 8032) of ``manifest``.

    Raises:
        InputError: the key is not an unencrypted Ed25519 private key in PEM.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_pem, password=None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {_WANTED} ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{where}: {_WANTED}")
    return key.sign(manifest)


def verify(manifest: bytes, signature: bytes, public_pem: bytes, where: str) -> bool:
    """Return whether ``signature`` is that key's signature of ``manifest``.

    Raises:
        InputError: the key is not an Ed25519 public key in PEM.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public_pem)
    except ValueError as error:
        raise InputError(f"{where}: {_WANTED_PUBLIC} ({error})") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{where}: {_WANTED_PUBLIC}")
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return False
    return True


_WANTED = (
    "wanted an unencrypted Ed25519 private key in PEM;"
    " make one with: openssl genpkey -algorithm ed25519 -out key.pem"
)
_WANTED_PUBLIC = (
    "wanted an Ed25519 public key in PEM;"
    " write that of a private key with: openssl pkey -in key.pem -pubout -out key.pub"
)
