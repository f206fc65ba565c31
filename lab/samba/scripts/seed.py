"""Write a fixture into the database of a domain controller that may be running.

Reads one JSON object on standard input: {"dir": host's folder, "changes": [...],
"passwords": {account: password}, "keep": {account: password}}, with values in base64. Prints the SID of every
object that has one, by distinguished name. All or nothing: one transaction.
"""
import base64
import json
import os
import sys

import ldb
from samba import dsdb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

RELAX = {"": [], "password": ["local_oid:1.3.6.1.4.1.7165.4.3.12:0"], "foreign": ["provision:0"], "schema": []}


def message(sam, c, flag):
    m = ldb.Message(ldb.Dn(sam, c["dn"]))
    for name, vals in c.get("attrs", {}).items():
        vals = [base64.b64decode(v) for v in vals or []]
        m[name] = ldb.MessageElement(vals, flag, name)
    return m


def have(sam, c):
    """The object exists, perhaps elsewhere: move it. A lab of one domain controller
    lacks the other hosts; there they are accounts that nobody uses."""
    sam_name = base64.b64decode(c["attrs"]["sAMAccountName"][0]).decode()
    found = sam.search(base=sam.domain_dn(), scope=ldb.SCOPE_SUBTREE, attrs=["dn"],
                       expression="(sAMAccountName=%s)" % ldb.binary_encode(sam_name))
    if not found:
        sam.add(message(sam, c, ldb.FLAG_MOD_ADD), controls=RELAX["password"])
    elif found[0].dn != ldb.Dn(sam, c["dn"]):
        sam.rename(found[0].dn, ldb.Dn(sam, c["dn"]))


def primary(sam, c):
    group = ldb.Dn(sam, c["values"])
    res = sam.search(base=group, scope=ldb.SCOPE_BASE, attrs=["objectSid"])
    rid = str(ndr_unpack(security.dom_sid, bytes(res[0]["objectSid"][0]))).rsplit("-", 1)[1]
    user = sam.search(base=c["dn"], scope=ldb.SCOPE_BASE, attrs=["primaryGroupID"])
    if str(user[0]["primaryGroupID"][0]) == rid:
        return  # whose primary group it is already cannot be made a member
    held = sam.search(base=group, scope=ldb.SCOPE_BASE, attrs=["dn"],
                      expression="(member=%s)" % ldb.binary_encode(c["dn"]))
    if not held:
        m = ldb.Message(group)
        m["member"] = ldb.MessageElement([c["dn"]], ldb.FLAG_MOD_ADD, "member")
        sam.modify(m)
    m = ldb.Message(ldb.Dn(sam, c["dn"]))
    m["primaryGroupID"] = ldb.MessageElement([rid], ldb.FLAG_MOD_REPLACE, "primaryGroupID")
    sam.modify(m)


def apply(sam, c):
    controls = RELAX[c.get("relax", "")]
    if c["verb"] == "add":
        sam.add(message(sam, c, ldb.FLAG_MOD_ADD), controls=controls)
    elif c["verb"] == "extend":
        sam.modify(message(sam, c, ldb.FLAG_MOD_ADD))
    elif c["verb"] == "have":
        have(sam, c)
    elif c["verb"] == "primary":
        primary(sam, c)
    else:
        if "nTSecurityDescriptor" in c["attrs"]:
            controls = controls + ["sd_flags:1:7"]
        sam.modify(message(sam, c, ldb.FLAG_MOD_REPLACE), controls=controls)


def attribute(c):
    """The change, or the first of them, adds an attribute to the schema: those in a row
    need no reloading of the schema in between, which takes a second."""
    if isinstance(c, list):
        return bool(c) and attribute(c[0])
    kinds = [base64.b64decode(v) for v in c.get("attrs", {}).get("objectClass") or []]
    return c["verb"] == "add" and b"attributeSchema" in kinds


def keep(sam, name, password):
    """Samba gives an account a random password when it comes to require a smart
    card, and the lab's own administrator must still be able to log on."""
    who = sam.search(base=sam.domain_dn(), scope=ldb.SCOPE_SUBTREE, attrs=["userAccountControl", "pwdLastSet"],
                     expression="(sAMAccountName=%s)" % ldb.binary_encode(name))
    if not int(str(who[0]["userAccountControl"][0])) & dsdb.UF_SMARTCARD_REQUIRED:
        return
    sam.setpassword("(sAMAccountName=%s)" % ldb.binary_encode(name), password)
    m = ldb.Message(who[0].dn)
    m["pwdLastSet"] = ldb.MessageElement([bytes(who[0]["pwdLastSet"][0])], ldb.FLAG_MOD_REPLACE, "pwdLastSet")
    sam.modify(m, controls=RELAX["password"])


def main():
    job = json.load(sys.stdin)
    lp = LoadParm()
    lp.load(os.path.join(job["dir"], "etc", "tools.conf"))
    if job.get("schema"):
        lp.set("dsdb:schema update allowed", "yes")
    # In batch mode a write does not copy the indexes to be able to undo itself, which
    # makes loading linear; a write that goes wrong undoes the whole transaction. Reloading the schema
    # does not work in it.
    sam = SamDB(url=os.path.join(job["dir"], "private", "sam.ldb"), session_info=system_session(), lp=lp,
                options=[] if job.get("schema") else ["batch_mode:1"])
    for name, password in job.get("passwords", {}).items():
        sam.setpassword("(sAMAccountName=%s)" % ldb.binary_encode(name), password)
    sam.transaction_start()
    for i, c in enumerate(job["changes"]):
        try:
            apply(sam, c)
            if job.get("schema") and not (attribute(c) and attribute(job["changes"][i + 1:])):
                sam.transaction_commit()
                sam.set_schema_update_now()
                sam.transaction_start()
        except ldb.LdbError as e:
            sam.transaction_cancel()
            raise SystemExit("%s %s: %s" % (c["verb"], c["dn"], e.args[1]))
    # The lab's own logons must not look like those of the fixture's people: zero is
    # how one asks that lastLogonTimestamp stays as it is.
    m = ldb.Message(ldb.Dn(sam, sam.domain_dn()))
    m["msDS-LogonTimeSyncInterval"] = ldb.MessageElement(["0"], ldb.FLAG_MOD_REPLACE, "msDS-LogonTimeSyncInterval")
    sam.modify(m)
    for name, password in job.get("keep", {}).items():
        keep(sam, name, password)
    sam.transaction_commit()
    sids = {str(m.dn): str(ndr_unpack(security.dom_sid, bytes(m["objectSid"][0])))
            for m in sam.search(base=sam.domain_dn(), scope=ldb.SCOPE_SUBTREE,
                                expression="(objectSid=*)", attrs=["objectSid"])}
    json.dump(sids, sys.stdout)


main()
