{{- define "naru.name" -}}
{{- contains "naru" .Release.Name | ternary .Release.Name (printf "%s-naru" .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "naru.selector" -}}
app.kubernetes.io/name: naru
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "naru.labels" -}}
{{ include "naru.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "naru.vllmName" -}}
{{ include "naru.name" . }}-{{ .Values.vllm.name }}
{{- end }}

{{- define "naru.vllmSelector" -}}
app.kubernetes.io/name: naru
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: vllm
{{- end }}

{{- define "naru.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "naru.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "naru.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* naru.yaml: what the chart knows, and over it what the operator says. */}}
{{- define "naru.settings" -}}
{{- $engines := deepCopy .Values.engines -}}
{{- if .Values.vllm.enabled -}}
{{- $urls := list -}}
{{- range $number := until (int .Values.vllm.replicas) -}}
{{- $urls = append $urls (printf "http://%s-%d.%s.%s.svc:8000/v1" (include "naru.vllmName" $) $number (include "naru.vllmName" $) $.Release.Namespace) -}}
{{- end -}}
{{- $engines = set $engines .Values.vllm.name (dict "urls" $urls) -}}
{{- end -}}
{{- $server := dict "host" "0.0.0.0" "port" (int .Values.service.port) "workers" (int .Values.workers) "drain_delay_s" 5 "grace_s" (int .Values.graceSeconds) -}}
{{- $telemetry := dict "metrics_host" "0.0.0.0" "metrics_port" (int .Values.service.metricsPort) -}}
{{- $ours := dict "data_dir" "/var/lib/naru" "server" $server "telemetry" $telemetry -}}
{{- with .Values.publicUrl }}{{ $ours = set $ours "public_url" . }}{{ end -}}
{{- with $engines }}{{ $ours = set $ours "engines" . }}{{ end -}}
{{- mergeOverwrite $ours (deepCopy .Values.config) | toYaml -}}
{{- end }}

{{- define "naru.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: {storage: {{ .size }}}
{{- end }}
