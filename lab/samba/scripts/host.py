"""Build the database of a domain controller.

Reads one JSON object on standard input, so that no password ever stands in an
argument list, and runs samba-tool's own commands inside this process.

  {"do": "provision", ...}  a new forest, and an ordinary user in it
  {"do": "join", ...}       one more domain controller, and its DNS records
"""
import json
import os
import shutil
import sys

import ldb
import samba
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dcerpc import dnsp
from samba.ndr import ndr_pack
from samba.netcmd.main import cmd_sambatool
from samba.param import LoadParm
from samba.samdb import SamDB


def tool(*argv):
    rc = cmd_sambatool()._run("samba-tool", *argv)
    if rc:
        sys.exit(f"samba-tool {argv[0]} {argv[1]} ended with {rc}")


def open_sam(host_dir):
    lp = LoadParm()
    lp.load(os.path.join(host_dir, "etc", "tools.conf"))
    lp.set("bind interfaces only", "yes")
    return SamDB(url=os.path.join(host_dir, "private", "sam.ldb"),
                 session_info=system_session(), lp=lp)


def provision(c):
    tool("domain", "provision", "--quiet",
         "--realm=" + c["realm"], "--domain=" + c["netbios"],
         "--server-role=dc", "--dns-backend=SAMBA_INTERNAL",
         "--adminpass=" + c["admin_password"], "--targetdir=" + c["dir"],
         "--host-name=" + c["name"], "--host-ip=" + c["address"],
         "--option=interfaces=" + c["address"] + "/8",
         "--option=bind interfaces only=yes")
    write_conf(c)
    sam = open_sam(c["dir"])
    add_service_names(sam, c)
    sam.newuser(c["reader"], c["reader_password"],
                description="Reads the directory; ordinary domain user")


def join(c):
    tool("domain", "join", c["domain"], "DC", "--quiet",
         "--server=" + c["server"], "--dns-backend=SAMBA_INTERNAL",
         "-U", c["admin"], "--password=" + c["admin_password"],
         "--targetdir=" + c["dir"],
         "--option=netbios name=" + c["name"].upper(),
         "--option=interfaces=" + c["address"] + "/8",
         "--option=bind interfaces only=yes")
    write_conf(c)
    # The same numeric ids on every domain controller, so that a copy of SYSVOL
    # with its permissions means the same there.
    shutil.copyfile(c["idmap"], os.path.join(c["dir"], "private", "idmap.ldb"))
    sam = open_sam(c["dir"])
    add_service_names(sam, c)
    announce(c, sam.get_ntds_GUID())
    add_dns_records(sam, c)


def write_conf(c):
    """smb.conf for the host; tools.conf, without the audit log (which tools would
    print), for programs that open its database."""
    etc = os.path.join(c["dir"], "etc")
    with open(os.path.join(etc, "smb.conf"), "w") as f:
        f.write(c["smb_conf"])
    with open(os.path.join(etc, "tools.conf"), "w") as f:
        for line in c["smb_conf"].splitlines(keepends=True):
            if "log level =" not in line and "logging =" not in line and "log file =" not in line:
                f.write(line)


def add_service_names(sam, c):
    """Give the domain controller the service principal names that Samba lists
    for it, before it starts: replication finds its partner by one of them.
    (samba_spnupdate would do this some time later.)"""
    values = {
        "HOSTNAME": c["fqdn"], "NETBIOSNAME": c["name"].upper(),
        "WORKGROUP": c["netbios"], "DNSDOMAIN": c["domain"],
        "DNSFOREST": c["domain"], "NTDSGUID": sam.get_ntds_GUID(),
    }
    dn = "CN=%s,OU=Domain Controllers,%s" % (c["name"].upper(), sam.domain_dn())
    res = sam.search(base=dn, scope=ldb.SCOPE_BASE, attrs=["servicePrincipalName"])
    present = {str(v).lower() for v in res[0].get("servicePrincipalName", [])}
    names = []
    with open(os.path.join(c["dir"], "private", "spn_update_list")) as f:
        for line in f:
            name = samba.substitute_var(line.split("#")[0].strip(), values)
            if name and name.lower() not in present:
                present.add(name.lower())
                names.append(name)
    if names:
        msg = ldb.Message(ldb.Dn(sam, dn))
        msg["spn"] = ldb.MessageElement(names, ldb.FLAG_MOD_ADD, "servicePrincipalName")
        sam.modify(msg)


def announce(c, ntds_guid):
    """Tell the first domain controller, over LDAP, the names of the new hosts:
    it finds its replication partner by the alias of the partner's settings."""
    lp = LoadParm()
    lp.load(os.path.join(c["dir"], "etc", "tools.conf"))
    creds = Credentials()
    creds.guess(lp)
    creds.set_username(c["admin"])
    creds.set_domain(c["netbios"])
    creds.set_password(c["admin_password"])
    first = SamDB(url="ldap://" + c["server"], credentials=creds, lp=lp)
    base = first.domain_dn()
    hosts = [{"fqdn": c["fqdn"], "address": c["address"]}] + c["members"]
    for h in hosts:
        rec = dnsp.DnssrvRpcRecord()
        rec.wType = dnsp.DNS_TYPE_A
        rec.data = h["address"]
        add_node(first, f"DC={h['fqdn'].split('.')[0]},DC={c['domain']},"
                 f"CN=MicrosoftDNS,DC=DomainDnsZones,{base}", rec)
    rec = dnsp.DnssrvRpcRecord()
    rec.wType = dnsp.DNS_TYPE_CNAME
    rec.data = c["fqdn"]
    add_node(first, f"DC={ntds_guid},DC=_msdcs.{c['domain']},"
             f"CN=MicrosoftDNS,DC=ForestDnsZones,{base}", rec)


def add_node(sam, dn, rec):
    rec.rank = dnsp.DNS_RANK_ZONE
    rec.dwTtlSeconds = 900
    sam.add({"dn": dn, "objectClass": "dnsNode", "dnsRecord": ndr_pack(rec)})


def add_dns_records(sam, c):
    """Publish the domain controller as [MS-ADTS] 6.3.2.3 lists it. Joining adds
    its host record only; the rest is what samba_dnsupdate would send later."""
    domain, fqdn, site = c["domain"], c["fqdn"], "Default-First-Site-Name._sites"
    guid = sam.get_domain_guid() if hasattr(sam, "get_domain_guid") else None
    if guid is None:
        res = sam.search(base=sam.domain_dn(), scope=ldb.SCOPE_BASE, attrs=["objectGUID"])
        guid = sam.schema_format_value("objectGUID", res[0]["objectGUID"][0]).decode()
    srv = [
        ("_ldap._tcp", 389), ("_ldap._tcp.dc._msdcs", 389),
        (f"_ldap._tcp.{guid}.domains._msdcs", 389),
        (f"_ldap._tcp.{site}", 389), (f"_ldap._tcp.{site}.dc._msdcs", 389),
        ("_kerberos._tcp", 88), ("_kerberos._udp", 88),
        ("_kerberos._tcp.dc._msdcs", 88),
        (f"_kerberos._tcp.{site}", 88), (f"_kerberos._tcp.{site}.dc._msdcs", 88),
        ("_kpasswd._tcp", 464), ("_kpasswd._udp", 464),
        ("_gc._tcp", 3268), (f"_gc._tcp.{site}", 3268),
        ("_ldap._tcp.gc._msdcs", 3268), (f"_ldap._tcp.{site}.gc._msdcs", 3268),
        ("_ldap._tcp.DomainDnsZones", 389), ("_ldap._tcp.ForestDnsZones", 389),
    ]
    for name, port in srv:
        rec = dnsp.DnssrvRpcRecord()
        rec.wType = dnsp.DNS_TYPE_SRV
        rec.data.nameTarget = fqdn
        rec.data.wPort = port
        rec.data.wWeight = 100
        add_record(sam, f"{name}.{domain}", rec)
    for name in (domain, "gc._msdcs." + domain,
                 "DomainDnsZones." + domain, "ForestDnsZones." + domain):
        rec = dnsp.DnssrvRpcRecord()
        rec.wType = dnsp.DNS_TYPE_A
        rec.data = c["address"]
        add_record(sam, name, rec)


def add_record(sam, name, rec):
    rec.rank = dnsp.DNS_RANK_ZONE
    rec.dwTtlSeconds = 900
    try:
        records = sam.dns_lookup(name)[1]
    except RuntimeError:
        records = []
    sam.dns_replace(name, records + [rec])


if __name__ == "__main__":
    conf = json.load(sys.stdin)
    {"provision": provision, "join": join}[conf["do"]](conf)
