"""Asks Samba's own code about security descriptors, in one batch.

Reads a job as JSON from standard input and writes the answers as JSON to
standard output. Run by lab_test.go with Debian's /usr/bin/python3, on the
database of a domain controller; everything it creates lies in one
organizational unit, which it deletes at the end.
"""
import json
import os
import sys
import urllib.parse

import ldb
import samba
from samba import ntacls
from samba.auth import (AUTH_SESSION_INFO_AUTHENTICATED,
                        AUTH_SESSION_INFO_DEFAULT_GROUPS,
                        AUTH_SESSION_INFO_SIMPLE_PRIVILEGES,
                        system_session, user_session)
from samba.credentials import DONT_USE_KERBEROS, Credentials
from samba.dcerpc import misc, security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

job = json.load(sys.stdin)
lp = LoadParm()
lp.load(job["conf"])


def connect(session):
    return SamDB(url=job["samdb"], session_info=session, lp=lp, flags=ldb.FLG_NOSYNC)


system = connect(system_session())
domain = security.dom_sid(system.get_domain_sid())


def text(b):
    return ndr_unpack(security.descriptor, b).as_sddl(domain)


def descriptor(dn):
    res = system.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=["sd_flags:1:15"])
    return bytes(res[0]["nTSecurityDescriptor"][0])


def guid(value):
    return str(ndr_unpack(misc.GUID, bytes(value)))


def dump():
    """Every distinct descriptor of the directory, with its text."""
    out = {}
    root = system.search("", ldb.SCOPE_BASE, attrs=["namingContexts"])[0]
    for nc in root["namingContexts"]:
        for msg in system.search(str(nc), ldb.SCOPE_SUBTREE, attrs=["nTSecurityDescriptor"],
                                 controls=["sd_flags:1:15", "show_deleted:1"]):
            b = bytes(msg["nTSecurityDescriptor"][0])
            if b.hex() not in out:
                out[b.hex()] = text(b)
    return out


def sysvol():
    """Every distinct descriptor of the policy files."""
    out = {}
    top = lp.get("path", "sysvol")
    for folder, _, files in os.walk(top):
        for name in [folder] + [os.path.join(folder, f) for f in files]:
            sd = ntacls.getntacl(lp, name, system_session(), direct_db_access=True)
            out[ndr_pack(sd).hex()] = sd.as_sddl(domain)
    return out


def schema():
    classes, attributes = {}, {}
    for msg in system.search(str(system.get_schema_basedn()), ldb.SCOPE_ONELEVEL,
                             attrs=["lDAPDisplayName", "schemaIDGUID", "defaultSecurityDescriptor",
                                    "attributeSecurityGUID", "objectClass"]):
        name = str(msg["lDAPDisplayName"][0]) if "lDAPDisplayName" in msg else ""
        if not name:
            continue
        if "classSchema" in [str(c) for c in msg["objectClass"]]:
            sddl = str(msg["defaultSecurityDescriptor"][0]) if "defaultSecurityDescriptor" in msg else ""
            entry = {"guid": guid(msg["schemaIDGUID"][0]), "sddl": sddl}
            try:
                if sddl:
                    entry["text"] = security.descriptor.from_sddl(sddl, domain).as_sddl(domain)
            except TypeError:
                entry["refused"] = True
            classes[name] = entry
        else:
            group = guid(msg["attributeSecurityGUID"][0]) if "attributeSecurityGUID" in msg else ""
            attributes[name] = {"guid": guid(msg["schemaIDGUID"][0]), "set": group}
    return classes, attributes


def texts():
    """What Samba makes of the texts of the job."""
    out = []
    for s in job["texts"]:
        try:
            sd = security.descriptor.from_sddl(s, domain)
        except TypeError as e:
            raise SystemExit("%s: %s" % (s, e))
        out.append({"hex": ndr_pack(sd).hex(), "text": sd.as_sddl(domain)})
    return out


base = "OU=secdesc-oracle-%d,%s" % (os.getpid(), system.get_default_basedn())


def add(db, rdn, parent, kind, sd=b""):
    dn = "%s,%s" % (rdn, parent)
    msg = {"dn": dn, "objectClass": kind}
    if kind in ("user", "group", "computer"):
        msg["sAMAccountName"] = "s%d%s%s" % (os.getpid() % 10000, rdn.split("=")[1], "$" if kind == "computer" else "")
    if sd:
        msg["nTSecurityDescriptor"] = sd
    db.add(msg)
    return dn


def created():
    """Creates the objects of the job and reads back their descriptors."""
    dns, out = [base], []
    for o in job["create"]:
        db = member if o["as"] == "user" else system  # whom no odd descriptor locks out
        parent = dns[o["parent"]]
        dn = add(db, o["rdn"], parent, o["class"], bytes.fromhex(o["sd"]))
        dns.append(dn)
        out.append({"parent": descriptor(parent).hex(), "got": descriptor(dn).hex()})
    return dns, out


def changed(dns):
    """Replaces descriptors and reads back those of all objects."""
    out = []
    for c in job["change"]:
        m = ldb.Message(ldb.Dn(system, dns[c["object"]]))
        m["sd"] = ldb.MessageElement(bytes.fromhex(c["sd"]), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
        system.modify(m)
        out.append([descriptor(dn).hex() for dn in dns])
    return out


def reader():
    """The ordinary user's connection to the running server, if there is one.

    Only the server keeps unreadable attributes from its clients; a program
    that opens the database itself sees them whoever it says it is.
    """
    socket = os.path.join(os.path.dirname(job["samdb"]), "ldapi")
    if not os.path.exists(socket):
        return None
    name = "s%dmember" % (os.getpid() % 10000)
    secret = samba.generate_random_password(24, 32)
    system.setpassword("(sAMAccountName=%s)" % name, secret)
    system.enable_account("(sAMAccountName=%s)" % name)
    creds = Credentials()
    creds.guess(lp)
    creds.set_username(name)
    creds.set_password(secret)
    creds.set_kerberos_state(DONT_USE_KERBEROS)
    return SamDB(url="ldapi://" + urllib.parse.quote(socket, safe=""), credentials=creds, lp=lp)


def effective():
    """What the ordinary user may do to objects with the descriptors of the job."""
    out = []
    server = reader()
    dn = add(system, "CN=target", base, "user")
    filled = {a: "x" for a in job["attributes"]}
    filled["mail"] = "x@contoso.test"
    m = ldb.Message(ldb.Dn(system, dn))
    for name, value in filled.items():
        m[name] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, name)
    system.modify(m)
    for sd in job["access"]:
        m = ldb.Message(ldb.Dn(system, dn))
        m["sd"] = ldb.MessageElement(bytes.fromhex(sd), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
        system.modify(m)
        readable = None
        if server:
            seen = server.search(base, ldb.SCOPE_ONELEVEL, "(distinguishedName=%s)" % dn, attrs=list(filled))
            readable = sorted(a for a in filled if len(seen) and a in seen[0])
        ask = member.search(dn, ldb.SCOPE_BASE, attrs=["allowedAttributesEffective", "sDRightsEffective"])
        writable = []
        if len(ask) and "allowedAttributesEffective" in ask[0]:
            writable = sorted(str(a) for a in ask[0]["allowedAttributesEffective"])
        rights = int(str(ask[0]["sDRightsEffective"][0])) if len(ask) and "sDRightsEffective" in ask[0] else 0
        out.append({"sd": descriptor(dn).hex(), "visible": len(ask) == 1, "readable": readable,
                    "writable": writable, "sdRights": rights})
    return out


if not job["texts"]:  # only asked for what is there
    json.dump({"domain": str(domain), "dump": dump(), "sysvol": sysvol()}, sys.stdout)
    sys.exit()

answer = {"domain": str(domain), "texts": texts()}
answer["classes"], answer["attributes"] = schema()
system.add({"dn": base, "objectClass": "organizationalUnit"})
try:
    user_dn = add(system, "CN=member", base, "user")
    session = user_session(system, lp_ctx=lp, dn=user_dn,
                           session_info_flags=AUTH_SESSION_INFO_DEFAULT_GROUPS |
                           AUTH_SESSION_INFO_AUTHENTICATED | AUTH_SESSION_INFO_SIMPLE_PRIVILEGES)
    member = connect(session)
    answer["token"] = [str(s) for s in session.security_token.sids]
    sd = ndr_unpack(security.descriptor, descriptor(base))
    ace = security.descriptor.from_sddl("D:(A;CI;CCLC;;;%s)" % answer["token"][0], domain).dacl.aces[0]
    sd.dacl_add(ace)
    m = ldb.Message(ldb.Dn(system, base))
    m["sd"] = ldb.MessageElement(ndr_pack(sd), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
    system.modify(m)
    dns, answer["created"] = created()
    answer["changed"] = changed(dns)
    answer["effective"] = effective()
finally:
    system.delete(base, ["tree_delete:1"])
json.dump(answer, sys.stdout)
