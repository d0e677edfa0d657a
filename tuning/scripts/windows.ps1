# towline: checks, tunes and untunes one network adapter of a Windows machine.
#
# .\towline-tune.ps1                              checks and prints JSON; changes nothing
# .\towline-tune.ps1 -Mode apply -Adapter NAME    stores the old values, then changes (elevated)
# .\towline-tune.ps1 -Mode revert                 puts the stored values back (elevated)
#
# Flow control belongs to both ends, so it is changed only when asked for: -FlowControl 3 (on) where
# the other end has it on, 0 where it has it off.
#
# Give the JSON to a machine that has towline: `towline tune import FILE`.
# Changing an adapter property resets the adapter: do not run apply over the link that it changes.
# Windows counts the 14 octets of the Ethernet header: Jumbo Packet 9014 is MTU 9000 elsewhere.
# `ping -l 8000` proves 8028 only; MTU 9000 needs `ping -f -l 8972`.
# The NFS client of Windows speaks versions 2 and 3 only: mount towline with version 3.
[CmdletBinding()]
param(
    [ValidateSet('check', 'apply', 'revert')]
    [string]$Mode = 'check',
    [string]$Adapter = '',
    [ValidateSet('', '0', '1', '2', '3', '4')]
    [string]$FlowControl = '',
    [string]$Peer = '@PEER@'
)

$ErrorActionPreference = 'Stop'
$Folder = Join-Path $env:ProgramData 'towline\tune'

# Keyword and wanted value; 'max' is the largest that the driver takes.
$Wanted = [ordered]@{
    '*JumboPacket'     = '9014'
    '*ReceiveBuffers'  = 'max'
    '*TransmitBuffers' = 'max'
    '*RSS'             = '1'
    '*NumRssQueues'    = 'max'
    '*RscIPv4'         = '1'
    '*RscIPv6'         = '1'
    '*LsoV2IPv4'       = '1'
    '*LsoV2IPv6'       = '1'
    '*EEE'             = '0'
}

if ($FlowControl -ne '') { $Wanted['*FlowControl'] = $FlowControl }

function Select-Adapter {
    if ($Adapter -ne '') {
        return Get-NetAdapter -Name $Adapter
    }
    if ($Peer -ne '') {
        $route = Find-NetRoute -RemoteIPAddress $Peer | Select-Object -First 1
        return Get-NetAdapter -InterfaceIndex $route.InterfaceIndex
    }
    # The fastest physical adapter that is up.
    return Get-NetAdapter -Physical |
        Where-Object { $_.Status -eq 'Up' } |
        Sort-Object -Property Speed -Descending |
        Select-Object -First 1
}

function Read-Property([string]$Name, [string]$Keyword) {
    return Get-NetAdapterAdvancedProperty -Name $Name -RegistryKeyword $Keyword -ErrorAction SilentlyContinue
}

function Read-Values($Card) {
    $values = [ordered]@{}
    $values['speed_mbit'] = [string][math]::Floor($Card.Speed / 1000000)
    $values['driver'] = "$($Card.DriverDescription) $($Card.DriverVersion)"
    $read = @($Wanted.Keys) + @('*FlowControl', '*InterruptModeration') | Select-Object -Unique
    foreach ($keyword in $read) {
        $property = Read-Property $Card.Name $keyword
        if ($null -eq $property) { continue }
        $values[$keyword] = [string]@($property.RegistryValue)[0]
        if ($property.NumericParameterMaxValue) {
            $values["$keyword max"] = [string]$property.NumericParameterMaxValue
        }
    }
    $slot = Get-NetAdapterHardwareInfo -Name $Card.Name -ErrorAction SilentlyContinue
    if ($null -ne $slot) {
        $values['pcie_width'] = [string]$slot.PciExpressCurrentLinkWidth
        $values['pcie_speed_gt'] = [string]$slot.PciExpressCurrentLinkSpeedEncoded
    }
    $first = Get-NetAdapterStatistics -Name $Card.Name
    Start-Sleep -Seconds 2
    $second = Get-NetAdapterStatistics -Name $Card.Name
    $values['discards_delta'] = [string]($second.ReceivedDiscardedPackets - $first.ReceivedDiscardedPackets)
    $tcp = Get-NetTCPSetting -SettingName Internet -ErrorAction SilentlyContinue
    if ($null -ne $tcp) { $values['autotuning'] = [string]$tcp.AutoTuningLevelLocal }
    $values['power_plan'] = [string](powercfg /getactivescheme)
    $nfs = Get-Command Get-NfsClientConfiguration -ErrorAction SilentlyContinue
    $values['nfs_client'] = [string]($null -ne $nfs)
    if ($null -ne $nfs) {
        $values['nfs_config'] = [string](Get-NfsClientConfiguration | Out-String)
    }
    if ($Peer -ne '') {
        # 8972 octets of payload and 28 of headers are 9000.
        ping -n 1 -w 1000 -f -l 8972 $Peer | Out-Null
        $values['ping_9000'] = [string]($LASTEXITCODE -eq 0)
    }
    return $values
}

function Write-Report($Card) {
    $report = [ordered]@{
        format = 1
        system = 'windows'
        host   = $env:COMPUTERNAME
        link   = $Card.Name
        values = Read-Values $Card
    }
    $report | ConvertTo-Json -Depth 4
}

function Invoke-Apply($Card) {
    $changes = [ordered]@{}
    $old = [ordered]@{}
    foreach ($keyword in $Wanted.Keys) {
        $property = Read-Property $Card.Name $keyword
        if ($null -eq $property) { continue }
        $target = $Wanted[$keyword]
        if ($target -eq 'max') { $target = [string]$property.NumericParameterMaxValue }
        $now = [string]@($property.RegistryValue)[0]
        if ($target -ne '' -and $now -ne $target) {
            $changes[$keyword] = $target
            $old[$keyword] = $now
        }
    }
    if ($changes.Count -eq 0) {
        Write-Host 'nothing to change'
        return
    }
    # The old values are on the disk before the first change. A file is never overwritten, so
    # running apply twice does not lose the first state.
    New-Item -ItemType Directory -Force -Path $Folder | Out-Null
    $file = Join-Path $Folder ('{0:yyyyMMddHHmmssfff}.json' -f (Get-Date))
    [ordered]@{ adapter = $Card.Name; old = $old } | ConvertTo-Json | Set-Content -Path $file
    foreach ($keyword in $changes.Keys) {
        Write-Host "$keyword $($old[$keyword]) -> $($changes[$keyword])"
        Set-NetAdapterAdvancedProperty -Name $Card.Name -RegistryKeyword $keyword -RegistryValue $changes[$keyword] -NoRestart
    }
    Restart-NetAdapter -Name $Card.Name
    # Drivers round and ignore, so every value is read back.
    foreach ($keyword in $changes.Keys) {
        $now = [string]@((Read-Property $Card.Name $keyword).RegistryValue)[0]
        if ($now -ne $changes[$keyword]) {
            Write-Warning "$keyword is $now, not $($changes[$keyword])"
        }
    }
    Write-Host "old values are in $file; -Mode revert puts them back"
}

function Invoke-Revert {
    # Newest first, so that the oldest values are written last.
    $files = @(Get-ChildItem -Path $Folder -Filter '*.json' -ErrorAction SilentlyContinue | Sort-Object -Property Name -Descending)
    if ($files.Count -eq 0) {
        Write-Host 'nothing stands that could be taken back'
        return
    }
    foreach ($file in $files) {
        $stored = Get-Content -Raw -Path $file.FullName | ConvertFrom-Json
        foreach ($entry in $stored.old.PSObject.Properties) {
            Write-Host "$($entry.Name) -> $($entry.Value)"
            Set-NetAdapterAdvancedProperty -Name $stored.adapter -RegistryKeyword $entry.Name -RegistryValue $entry.Value -NoRestart
        }
        Restart-NetAdapter -Name $stored.adapter
        Rename-Item -Path $file.FullName -NewName "$($file.Name).reverted"
    }
}

# The stored values name their own adapter, which may be down.
if ($Mode -ne 'revert') {
    $card = Select-Adapter
    if ($null -eq $card) { throw 'no adapter is up: name one with -Adapter' }
}
switch ($Mode) {
    'check' { Write-Report $card }
    'apply' { Invoke-Apply $card }
    'revert' { Invoke-Revert }
}
